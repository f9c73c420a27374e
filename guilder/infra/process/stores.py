"""Where a secret is kept, by the settings."""

import importlib

from guilder.core.clock import Clock
from guilder.core.ports import SecretStore
from guilder.infra.process.given import PREFIX
from guilder.infra.process.settings import InvalidSettings, Settings
from guilder.infra.security.secrets import FolderSecrets, MountedSecrets, StaticSecrets


def secret_store(settings: Settings, name: str, clock: Clock) -> SecretStore:
    """The store of a secret; the data folder's makes it if need be. Raises ``InvalidSettings``."""
    if settings.keeps_keys_elsewhere:
        try:
            aws = importlib.import_module("guilder.infra.security.aws_secrets")
        except ModuleNotFoundError as error:
            raise InvalidSettings(
                f"{PREFIX}SECRETS_URL needs {error.name}: install guilder[aws]"
            ) from None
        store: SecretStore = aws.AwsSecrets(*settings.aws_place)
        return store
    setting = PREFIX + name.upper()
    if (path := getattr(settings, f"{name}_file")) is not None:
        return MountedSecrets({name: path})
    if setting in (given := settings.keys_given()):
        return StaticSecrets({name: given[setting]})
    folder = FolderSecrets(settings.data_dir / "keys", clock)
    folder.ensure(name)
    return folder

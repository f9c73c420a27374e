"""Secrets in AWS Secrets Manager. Needs the extra ``aws``; imported only when it is chosen.

Each version there is one of ours as long as it has a staging label. ``AWSCURRENT`` and
``AWSPREVIOUS`` move on by themselves, so that every version also gets a label of its own, which
keeps it until we drop it.
"""

import contextlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from guilder.core.clock import from_datetime
from guilder.core.ports import SecretsUnavailable, SecretVersion

LABEL: Final = "guilder-"
_CURRENT: Final = "AWSCURRENT"
_PENDING: Final = "AWSPENDING"
_PATIENCE: Final = Config(
    connect_timeout=3, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 3}
)


class AwsSecrets:
    """See ``guilder.core.ports.SecretStore``. The secret of a name is ``prefix/name`` there.

    Who we are for AWS is found as every AWS tool finds it: environment, profile, role.
    """

    poll_seconds: float | None = 30.0

    def __init__(self, prefix: str, region: str | None) -> None:
        self._prefix = prefix
        self._versions: dict[str, SecretVersion] = {}
        with _translated():
            session = boto3.session.Session(region_name=region)
            self._client: Any = session.client("secretsmanager", config=_PATIENCE)

    def versions(self, name: str) -> tuple[SecretVersion, ...]:
        """Those with a label, the one that AWS calls current first."""
        with _translated():
            labels = self._labels(name)
            found = [self._version(name, version_id) for version_id in labels]
        newest = sorted(found, key=lambda one: (_CURRENT in labels[one.id], one.created_at or 0))
        return tuple(reversed(newest))

    def add(self, name: str, value: bytes) -> None:
        """Store it as the current version, after those before have labels that keep them."""
        secret, token = self._secret(name), str(uuid4())
        with _translated():
            present = self._labels(name)
            if not present:
                with contextlib.suppress(self._client.exceptions.ResourceExistsException):
                    self._client.create_secret(Name=secret)
            for version_id, labels in present.items():
                if not any(label.startswith(LABEL) for label in labels):
                    self._client.update_secret_version_stage(
                        SecretId=secret,
                        VersionStage=LABEL + version_id,
                        MoveToVersionId=version_id,
                    )
            self._client.put_secret_value(
                SecretId=secret,
                ClientRequestToken=token,
                SecretString=value.decode(),
                VersionStages=[_CURRENT, LABEL + token],
            )

    def drop(self, name: str, ids: Collection[str]) -> None:
        """Take their labels away, so that AWS forgets them; the current one stays."""
        with _translated():
            for version_id, labels in self._labels(name).items():
                if version_id in ids and _CURRENT not in labels:
                    for label in labels:
                        self._client.update_secret_version_stage(
                            SecretId=self._secret(name),
                            VersionStage=label,
                            RemoveFromVersionId=version_id,
                        )

    def _secret(self, name: str) -> str:
        return f"{self._prefix}/{name}"

    def _labels(self, name: str) -> dict[str, list[str]]:
        """The labels of each version, without versions that have none or are still being made."""
        try:
            described = self._client.describe_secret(SecretId=self._secret(name))
        except self._client.exceptions.ResourceNotFoundException:
            return {}
        found: dict[str, list[str]] = described.get("VersionIdsToStages", {})
        return {one: labels for one, labels in found.items() if set(labels) - {_PENDING}}

    def _version(self, name: str, version_id: str) -> SecretVersion:
        """A version, fetched once: its value never changes. Raises ``SecretsUnavailable``."""
        if version_id not in self._versions:
            answer = self._client.get_secret_value(
                SecretId=self._secret(name), VersionId=version_id
            )
            if "SecretString" not in answer:
                raise SecretsUnavailable(f"{self._secret(name)} is not kept as text")
            value = answer["SecretString"].strip().encode()
            made_at = from_datetime(answer["CreatedDate"])
            self._versions[version_id] = SecretVersion(version_id, value, made_at)
        return self._versions[version_id]


@contextmanager
def _translated() -> Iterator[None]:
    """Raises ``SecretsUnavailable`` for an error of AWS or on the way to it, never with a value."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise SecretsUnavailable(f"AWS Secrets Manager: {error}") from None

"""``guilder keys``: the bank's keys, shown without themselves and renewed."""

import json
from datetime import timedelta
from typing import Annotated, Any, Final

import typer

from guilder.bootstrap import open_keys
from guilder.cli.troubles import reported_errors, say
from guilder.core.clock import SECOND_US, Clock, SystemClock, iso_instant
from guilder.core.ports import SecretStore, SecretVersion
from guilder.infra.process.logging import configure_logging
from guilder.infra.process.settings import InvalidSettings, Settings, load_settings
from guilder.infra.process.stores import secret_store
from guilder.infra.security.key_names import encryption_key_names
from guilder.infra.security.keys import ENCRYPTION_KEY, SECRET_KEY, KeyRing
from guilder.infra.security.secrets import new_secret
from guilder.infra.security.tokens import KEEP_SECONDS, SigningKey

USES: Final = {SECRET_KEY: "signing", ENCRYPTION_KEY: "encryption"}

app = typer.Typer(help="Show and renew the keys of the bank.", no_args_is_help=True)


@app.command("list")
def show_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which keys there are, since when, and what they are good for; never a key itself."""
    with reported_errors():
        settings, clock = _quietly(load_settings()), SystemClock()
        keys = open_keys(settings, clock)
        rows = [row for ring in (keys.signing, keys.encryption) for row in _rows(ring, clock)]
        if as_json:
            say(json.dumps(rows, indent=2))
            return
        for row in rows:
            age = row["age_seconds"]
            since = "" if age is None else f"  {row['created_at']}, {timedelta(seconds=age)} ago"
            say(f"{row['use']:<10}  {row['id']}  {row['state']:<7}{since}")
            if row["use"] == USES[ENCRYPTION_KEY]:
                names = ", ".join(f"{use}: {name}" for use, name in row["names"].items())
                say(f"{'':<10}  {names.replace('_', ' ')}")


@app.command("rotate")
def rotate_keys(
    signing: Annotated[bool, typer.Option("--signing", help="Only the signing key.")] = False,
    encryption: Annotated[
        bool, typer.Option("--encryption", help="Only the encryption key.")
    ] = False,
    revoke_old: Annotated[
        bool,
        typer.Option("--revoke-old", help="Refuse what was signed with the old keys, at once."),
    ] = False,
) -> None:
    """Make new keys, the current ones from a few seconds on; what the old ones made stays good."""
    with reported_errors():
        if revoke_old and (encryption or not signing):
            raise InvalidSettings(
                "--revoke-old goes with --signing alone: without an old encryption key, what it "
                "protects could not be read any more"
            )
        settings, clock = _quietly(load_settings()), SystemClock()
        wanted = {SECRET_KEY: signing, ENCRYPTION_KEY: encryption}
        names = [name for name in wanted if wanted[name] == (signing or encryption)]
        stores = {name: secret_store(settings, name, clock) for name in names}
        for name, store in stores.items():  # all of them can be written, or nothing is
            if store.versions(name):
                store.drop(name, ())
        for name, store in stores.items():
            made = _rotated(name, store, clock, revoke=revoke_old)
            say(f"The new {USES[name]} key is {_id(name, made)}.")


def _rotated(name: str, store: SecretStore, clock: Clock, *, revoke: bool) -> SecretVersion:
    if not store.versions(name):
        store.add(name, new_secret())
        return KeyRing(name, store, clock).current()
    ring = KeyRing(name, store, clock, KEEP_SECONDS if name == SECRET_KEY else None)
    return ring.rotate(revoke=revoke)


def _rows(ring: KeyRing, clock: Clock) -> list[dict[str, Any]]:
    rows = []
    for status in ring.statuses():
        at_us = status.version.created_at
        rows.append(
            {
                "use": USES[ring.name],
                "id": _id(ring.name, status.version),
                "names": _names(ring.name, status.version),
                "state": status.state.value,
                "created_at": None if at_us is None else iso_instant(at_us),
                "age_seconds": None if at_us is None else (clock.now_us() - at_us) // SECOND_US,
            }
        )
    return rows


def _id(name: str, version: SecretVersion) -> str:
    """The first of its names: how tokens (``kid``) and sealed texts name a key."""
    return next(iter(_names(name, version).values()))


def _names(name: str, version: SecretVersion) -> dict[str, str]:
    """How what is made with a key names it."""
    if name == SECRET_KEY:
        return {"tokens": SigningKey(version.value).id}
    return encryption_key_names(version.value)


def _quietly(settings: Settings) -> Settings:
    configure_logging("warning", as_json=settings.logs_json)
    return settings

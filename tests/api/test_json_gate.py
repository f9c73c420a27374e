"""The JSON gate: known vectors, and every document that it lets in is what Python reads there."""

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from guilder.api.errors import (
    DuplicateKey,
    InvalidText,
    JsonTooDeep,
    MalformedJson,
    NumberOutOfRange,
    TooManyValues,
)
from guilder.api.json_gate import MAX_DEPTH, parse, parse_in_turns
from guilder.api.turns import Turns
from guilder.core.errors import BadRequest, Refusal

REFUSED: list[tuple[bytes, type[BadRequest]]] = [
    (b"", MalformedJson),
    (b"  \n", MalformedJson),
    (b"{", MalformedJson),
    (b"{} x", MalformedJson),
    (b"{}{}", MalformedJson),
    (b"\xef\xbb\xbf{}", MalformedJson),
    ('{"a":1}'.encode("utf-16"), MalformedJson),
    (b"{'a':1}", MalformedJson),
    (b'{"a":1,}', MalformedJson),
    (b"[1,]", MalformedJson),
    (b"[01]", MalformedJson),
    (b"[+1]", MalformedJson),
    (b"[1.]", MalformedJson),
    (b"[.5]", MalformedJson),
    (b"[0x10]", MalformedJson),
    (b"[1_000]", MalformedJson),
    (b"// comment\n1", MalformedJson),
    (b'["\t"]', MalformedJson),
    (b'["a\x00b"]', MalformedJson),
    (b'["\\x41"]', MalformedJson),
    (b"\x0b[]", MalformedJson),
    (b'{"a":NaN}', MalformedJson),
    (b'{"a":Infinity}', MalformedJson),
    (b'{"a":-Infinity}', MalformedJson),
    (b'{"a":1e400}', NumberOutOfRange),
    (b'{"a":-1E+400}', NumberOutOfRange),
    (b"[[[1e999]]]", NumberOutOfRange),
    (b"1e400", NumberOutOfRange),
    (b"1" * 400 + b".0", NumberOutOfRange),
    (b"1" * 5000, NumberOutOfRange),
    (b'{"a":1,"a":2}', DuplicateKey),
    (b'{"a":1,"\\u0061":2}', DuplicateKey),
    (b'[{"b":{"a":1,"c":2,"a":1}}]', DuplicateKey),
    (b'"\\u0000"', InvalidText),
    (b'{"a":["x\\u0000y"]}', InvalidText),
    (b'{"a":{"k\\u0000":1}}', InvalidText),
    (b'"\\ud800"', InvalidText),
    (b'"\\udc00"', InvalidText),
    (b'"\\udc00\\ud800"', InvalidText),
    (b'"\\ud800\\u0041"', InvalidText),
    (b'"\\uD800x"', InvalidText),
    (b'{"\\ud83d":1}', InvalidText),
    (b'"\xed\xa0\x80"', InvalidText),
    (b'"\xff"', InvalidText),
    (b'"\xc0\x80"', InvalidText),
    (b'{"\xf4\x90\x80\x80":1}', InvalidText),
    (b"[" * 33 + b"]" * 33, JsonTooDeep),
    (b'{"a":' * 32 + b"[]" + b"}" * 32, JsonTooDeep),
    (b'{"a":' * 33 + b"1" + b"}" * 33, JsonTooDeep),
    (b"[" * 150 + b"]" * 150, JsonTooDeep),
    (b"[" * 100_000, TooManyValues),
    (b'{"a":' * 100_000, TooManyValues),
    (b"[" + b"[]," * 200 + b"[]]", TooManyValues),
    (b"{" + b",".join(b'"%d":0' % n for n in range(201)) + b"}", TooManyValues),
    (b'["' + b"x," * 99 + b'\\",[{","' + b"[0," * 99 + b'"' + b",0" * 199 + b"]", TooManyValues),
    (b'"' + b'\\"' * 100_000, MalformedJson),
    (b"[" * 10 + b'"' * 100_001, MalformedJson),
    (b",[{" * 100 + b'"', TooManyValues),
]
ACCEPTED = [
    b"{}",
    b" [1, 2.5, -0, 1e3, true, null] \n",
    b"[" * 32 + b"]" * 32,
    b'{"a":' * 31 + b"[1]" + b"}" * 31,
    b'{"a":[{"a":1},{"a":2}]}',
    b'"\\ud83d\\ude00"',
    b'"\\\\u0000"',
    b'{"text":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}',
    b"99999999999999999999999999",
    b"[" + b"0," * 199 + b"0]",
    b'["' + b",[{" * 10_000 + b'\\",{["]',
    b'{"' + b",[{" * 10_000 + b'":"\\\\","b":"' + b"{" * 500 + b'"}',
    b"9" * 4000,
    '{"\u00e4":"\u20ac \ufffe"}'.encode(),
]


@pytest.mark.parametrize(("body", "refusal"), REFUSED, ids=map(str, range(len(REFUSED))))
def test_refused(body: bytes, refusal: type[BadRequest]) -> None:
    with pytest.raises(Refusal) as caught:
        parse(body)
    assert type(caught.value) is refusal


@pytest.mark.parametrize("body", ACCEPTED, ids=map(str, range(len(ACCEPTED))))
def test_accepted_and_read_as_python_reads_it(body: bytes) -> None:
    assert parse(body) == json.loads(body)


def test_a_refusal_never_repeats_the_key() -> None:
    with pytest.raises(DuplicateKey) as caught:
        parse(b'{"canary":1,"canary":2}')
    assert "canary" not in caught.value.detail
    assert caught.value.__cause__ is None


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def depth_of(document: Any) -> int:
    inner = document.values() if isinstance(document, dict) else document
    return 1 + max(map(depth_of, inner), default=0) if isinstance(document, dict | list) else 0


def strings_of(document: Any) -> list[str]:
    if isinstance(document, dict):
        return [*document, *(s for v in document.values() for s in strings_of(v))]
    if isinstance(document, list):
        return [s for v in document for s in strings_of(v)]
    return [document] if isinstance(document, str) else []


@settings(deadline=None)
@given(documents, st.booleans(), st.sampled_from([None, 1, "\t"]))
@example({"\0": 1}, True, None)
@example(["\\u0000"], True, None)
def test_any_sound_document_is_let_in_unless_it_holds_nul(
    document: Any, ascii_only: bool, indent: int | str | None
) -> None:
    body = json.dumps(document, ensure_ascii=ascii_only, indent=indent).encode()
    if any("\0" in text for text in strings_of(document)):
        with pytest.raises(InvalidText):
            parse(body)
    else:
        assert parse(body) == document


def values_of(document: Any) -> int:
    """How many values there are, the document among them."""
    if isinstance(document, dict):
        return 1 + sum(map(values_of, document.values()))
    return 1 + sum(map(values_of, document)) if isinstance(document, list) else 1


@settings(deadline=None)
@given(st.lists(documents, max_size=6), st.integers(1, 40))
def test_what_has_no_more_values_than_allowed_is_let_in(
    document: list[Any], most_values: int
) -> None:
    """An empty object or array may count for two; a text counts for one, whatever is in it."""
    body = json.dumps(document, ensure_ascii=False).encode()
    if "\\u0000" in body.decode():
        return
    held = values_of(document)
    try:
        assert parse(body, most_values) == document
        assert held <= most_values + 1
    except TooManyValues:
        assert 2 * held > most_values


async def test_a_large_body_is_read_in_turns_and_alike() -> None:
    text = "a,{[" * 500
    sound = [{"text": text, "number": number} for number in range(500)]
    async with Turns().turn() as turn:
        assert await parse_in_turns(json.dumps(sound).encode(), 2_000, turn) == sound
        with pytest.raises(TooManyValues):
            await parse_in_turns(json.dumps(sound).encode(), 1_000, turn)
        with pytest.raises(MalformedJson):
            await parse_in_turns(json.dumps(sound).encode()[:-1], 1_600, turn)


pieces = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b":", b",", b'"', b'"a"', b'"b"', b'{"a":1}', b'{"a":'),
        *(b"1", b"-", b"0", b".", b"e", b"E+", b"400", b"NaN", b"Infinity", b"true", b"null"),
        *(b"\\u0000", b"\\ud83d", b"\\ude00", b"\\", b"\x00", b"\xff", b"\xed\xa0\x80", b" "),
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(pieces, max_size=24).map(b"".join) | st.binary(max_size=40))
def test_whatever_is_let_in_is_strict_json_and_read_as_python_reads_it(body: bytes) -> None:
    try:
        document = parse(body)
    except BadRequest:
        return
    pairs_seen: list[int] = []

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        pairs_seen.append(len(found) - len(dict(found)))
        return dict(found)

    def constant(name: str) -> None:
        raise AssertionError(f"{name} was let in")

    again = json.loads(body, object_pairs_hook=pairs, parse_constant=constant)
    assert document == again
    assert not any(pairs_seen)
    assert depth_of(document) <= MAX_DEPTH
    assert not any("\0" in text for text in strings_of(document))
    json.dumps(document, allow_nan=False, ensure_ascii=False).encode()


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(0, 60), st.text('[]{}"\\', max_size=60))
def test_depth_is_counted_in_brackets_that_nest_and_not_in_texts(
    arrays: int, objects: int, text: str
) -> None:
    document: Any = text
    for _ in range(objects):
        document = {"a": document, "b": text}
    for _ in range(arrays):
        document = [text, document]
    body = json.dumps(document).encode()
    if arrays + objects > MAX_DEPTH:
        with pytest.raises(JsonTooDeep):
            parse(body, 10_000)
    else:
        assert parse(body, 10_000) == document

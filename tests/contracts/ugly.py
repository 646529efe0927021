"""Values that break stores: bodies and ids that every adapter has to give back as it got them."""

UGLY_BODIES: dict[str, bytes] = {
    "NUL": b'{"text":"a\x00b"}',
    "escaped NUL": b'{"text":"a\\u0000b"}',
    "lone surrogate": b'{"text":"\\ud800"}',
    "duplicate keys": b'{"a":1,"a":2}',
    "ten to the fortieth": b'{"n":10000000000000000000000000000000000000000}',
    "many digits": b'{"n":0.1000000000000000055511151231257827021181583404541015625}',
    "lone low surrogate": b'{"text":"\\udc00x"}',
    "escaped NUL in a key": b'{"a\\u0000b":1}',
    "minus ten to the fortieth": b'{"n":-10000000000000000000000000000000000000000}',
    "tiny": b'{"n":1e-400}',
    "deep nesting": b'{"x":' * 200 + b"1" + b"}" * 200,
    "emoji": '{"text":"🦊👩‍👩‍👧"}'.encode(),
    "right to left": '{"text":"\u202eשלום\u202c"}'.encode(),
    "four bytes": '{"\U0001d11e":"\U0010ffff\U00020000"}'.encode(),
    "escaped": b'{"text":"\\ud83e\\udd8a\\u00e9\\/"}',
    "separators": '{"text":"\u2028\u2029\ufeff\u200d"}'.encode(),
    "combining": '{"text":"e\u0301 \u00e9"}'.encode(),
    "quotes and wildcards": b'{"text":"%_\'\\"\\\\; drop table event; --"}',
    "empty strings": b'{"":"","a":{"":[]}}',
    "white space": b'{ "a" : [ 1 , 2 ] }',
}

#: What no store keeps faithfully, and what is no JSON; everything else has to be taken.
MAY_BE_REFUSED = frozenset(("NUL", "escaped NUL", "escaped NUL in a key", "lone surrogate", "lone low surrogate"))

UGLY_IDS: list[str] = [
    "x" * 512,
    "🦊" * 128,
    "quote'quote",
    'double"quote',
    "percent%under_score",
    "back\\slash",
    "semi;colon -- comment",
    "a ",
    "A",
    "a",
    "\u202eeluR",
    "e\u0301",
    "\u00e9",
    " ",
    "a/b?c#d",
    "\U00020000",
    "\uffff",  # before the four bytes in UTF-8, after them in UTF-16
    "שלום",
    "ſ",
    "ß",
    "ss",
    "a,b",
    "*",
    "..",
    "null",
    "0",
    "00",
]

#: The same within what names of definitions, groups and workers may be.
UGLY_NAMES: list[str] = [
    "x" * 64,
    "A",
    "a",
    "0",
    "00",
    "1e5",
    "null",
    "a.b",
    "a..b",
    "a.",
    "a-b",
    "a_b",
    "a__b",
    "aXb",
    "a-b.cursor",
    "con",
]

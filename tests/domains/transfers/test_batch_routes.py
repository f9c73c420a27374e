import asyncio

import pytest

from guilder.domains.accounts.rules import account_number_of
from guilder.domains.transfers.schemas import BatchOut
from tests.db import owner
from tests.support.teller import (
    NOBODYS,
    Body,
    Customer,
    Desk,
    answered,
    asked,
    conforms,
    pointers,
    refused,
)


@pytest.fixture
async def payer(desk: Desk) -> Customer:
    return await desk.sign_up()


async def batch(
    customer: Customer, *transfers: Body, key: str | None = None, **more: object
) -> Body:
    body = {"transfers": list(transfers), **more}
    found = answered(await customer.post("/transfers/batches", body, key=key), 201)
    conforms(BatchOut, found)
    return found


def told(body: Body) -> list[tuple[str, object]]:
    """Of every result, its status and its code or balance."""
    assert [result["index"] for result in body["results"]] == list(range(len(body["results"])))
    statuses = [result["status"] for result in body["results"]]
    assert body["rejected"] == statuses.count("rejected")
    assert body["accepted"] == len(statuses) - body["rejected"]
    return [
        (result["status"], result.get("code", result.get("balance_after")))
        for result in body["results"]
    ]


async def test_a_body_that_breaks_the_rules_moves_nothing(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    before = await desk.books()
    good = asked(a, b, 1)
    cases: list[tuple[Body, list[tuple[str, str]]]] = [
        ({}, [("/transfers", "required")]),
        ({"transfers": []}, [("/transfers", "too_few")]),
        ({"transfers": [good] * 2_001}, [("/transfers", "too_many")]),
        ({"transfers": good}, [("/transfers", "wrong_type")]),
        ({"transfers": [good, 7]}, [("/transfers/1", "wrong_type")]),
        ({"transfers": [good], "atomic": 1}, [("/atomic", "wrong_type")]),
        ({"transfers": [good], "label": "x"}, [("/label", "unknown_field")]),
        ({"transfers": [good, good, good, good | {"amount": 0}]},
         [("/transfers/3/amount", "out_of_range")]),
        ({"transfers": [good | {"idempotency_key": ""}, good | {"memo": ""}]},
         [("/transfers/0/idempotency_key", "invalid_key"), ("/transfers/1/memo", "unknown_field")]),
    ]  # fmt: skip
    for body, expected in cases:
        problem = refused(
            await payer.post("/transfers/batches", body, key="b"), 422, "validation_failed"
        )
        assert pointers(problem) == expected
    many = await payer.post("/transfers/batches", {"transfers": [{"amount": 0}] * 2_000})
    assert len(refused(many, 422, "validation_failed")["errors"]) <= 100
    assert await desk.books() == before


async def test_each_transfer_stands_for_itself(desk: Desk, payer: Customer) -> None:
    stranger = await desk.sign_up()
    a, b = await payer.open(funds=1_000), await payer.open()
    euro, theirs = await payer.open("EUR"), await stranger.open(funds=9)
    body = await batch(
        payer,
        asked(a, b, 600),
        asked(a, b, 600),
        asked(a, {"id": NOBODYS}, 1),
        asked(theirs, b, 1),
        asked(a, a, 1),
        asked(a, euro, 1),
        asked(a, b, 1, currency="EUR"),
        asked(b, a, 500),
        asked(a, b, 900, to_account_id=..., to_account_number=b["account_number"]),
        asked(a, theirs, 1),
    )
    assert told(body) == [
        ("created", 400),
        ("rejected", "insufficient_funds"),
        ("rejected", "account_not_found"),
        ("rejected", "account_not_found"),
        ("rejected", "same_account"),
        ("rejected", "currency_mismatch"),
        ("rejected", "currency_mismatch"),
        ("created", 100),
        ("created", 0),
        ("rejected", "insufficient_funds"),
    ]
    for result in body["results"]:
        if result["status"] == "created":
            found = await payer.read(f"/transfers/{result['transfer_id']}")
            assert found["balance_after"] == result["balance_after"]
        else:
            assert result.keys() == {"index", "status", "code"}
    assert (await payer.balance(a), await payer.balance(b)) == (0, 1_000)
    assert await stranger.balance(theirs) == 9
    await desk.books()


@pytest.mark.parametrize("spoiler", ["funds", "unknown", "foreign", "currency", "same"])
async def test_an_atomic_batch_is_all_or_nothing(desk: Desk, payer: Customer, spoiler: str) -> None:
    stranger = await desk.sign_up()
    a, b = await payer.open(funds=1_000), await payer.open()
    bad, code = {
        "funds": (asked(a, b, 1_000), "insufficient_funds"),
        "unknown": (asked(a, {"id": NOBODYS}, 1), "account_not_found"),
        "foreign": (asked(await stranger.open(), b, 1), "account_not_found"),
        "currency": (asked(a, await payer.open("EUR"), 1), "currency_mismatch"),
        "same": (asked(b, b, 1), "same_account"),
    }[spoiler]
    before = await desk.books()
    sent = {"transfers": [asked(a, b, 1), bad, asked(a, b, 2)], "atomic": True}
    for query in ({}, {"dry_run": "true"}):
        answer = await payer.post("/transfers/batches", sent, key="g", **query)
        problem = refused(answer, 422, "batch_rejected")
        assert (problem["accepted"], problem["rejected"]) == (0, 3)
        assert told(problem) == [
            ("rejected", "group_failed"),
            ("rejected", code),
            ("rejected", "group_failed"),
        ]
    assert await desk.books() == before
    good = await batch(payer, asked(a, b, 1), asked(a, b, 2), atomic=True, key="g")
    assert told(good) == [("created", 999), ("created", 997)]  # the refusal burnt no key
    await desk.books()


async def test_the_key_of_an_item_works_everywhere(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=1_000), await payer.open()
    item = asked(a, b, 10)
    single = answered(await payer.post("/transfers", item, key="one"), 201)
    first = await batch(
        payer, item | {"idempotency_key": "one"}, item | {"idempotency_key": "two"},
        item | {"idempotency_key": "two"}, item | {"idempotency_key": "two", "amount": 11},
    )  # fmt: skip
    assert told(first) == [
        ("replayed", 990),
        ("created", 980),
        ("replayed", 980),
        ("rejected", "idempotency_conflict"),
    ]
    assert first["results"][0]["transfer_id"] == single["id"]
    again = await payer.post("/transfers", item, key="two")
    assert again.json()["id"] == first["results"][1]["transfer_id"]
    assert again.headers["idempotency-replayed"] == "true"
    assert await payer.balance(a) == 980


async def test_the_key_of_a_batch_gives_the_first_answer_again(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=100), await payer.open()
    body = {"transfers": [asked(a, b, 60), asked(a, b, 60), asked(b, a, 10)]}
    first = await payer.post("/transfers/batches", body, key="batch")
    assert told(first.json())[1] == ("rejected", "insufficient_funds")
    await payer.deposit(a, 1_000)  # what was refused would pass now: the answer stays
    again = await payer.post("/transfers/batches", body | {"atomic": False}, key="batch")
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    for change in ({"atomic": True}, {"transfers": body["transfers"][:2]}):
        other = await payer.post("/transfers/batches", body | change, key="batch")
        refused(other, 422, "idempotency_conflict")
    await desk.books()


@pytest.mark.parametrize("atomic", [False, True])
async def test_a_batch_and_its_transfers_may_have_the_same_key(
    desk: Desk, payer: Customer, atomic: bool
) -> None:
    """The two are keys of different things; once they met in one row, and the answer was 500."""
    a, b = await payer.open(funds=100), await payer.open()
    items = [asked(a, b, 10, idempotency_key=key) for key in ("same", "other")]
    body = {"transfers": items, "atomic": atomic}
    first = await payer.post("/transfers/batches", body, key="same")
    assert told(answered(first, 201)) == [("created", 90), ("created", 80)]
    again = await payer.post("/transfers/batches", body, key="same")
    assert (again.status_code, again.content) == (201, first.content)
    single = await payer.post("/transfers", asked(a, b, 10), key="same")
    assert answered(single, 201)["id"] == first.json()["results"][0]["transfer_id"]
    assert single.headers["idempotency-replayed"] == "true"
    assert await payer.balance(a) == 80
    await desk.books()


async def test_the_key_of_a_transfer_is_free_for_a_batch(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=100), await payer.open()
    body = {"transfers": [asked(a, b, 10)]}
    answered(await payer.post("/transfers", asked(a, b, 1), key="single"), 201)
    answered(await payer.post("/transfers/batches", body, key="single"), 201)
    answered(await payer.post("/transfers/batches", body, key="batch"), 201)
    answered(await payer.post("/transfers", asked(a, b, 1), key="batch"), 201)
    assert await payer.balance(b) == 22
    await desk.books()


@pytest.mark.parametrize("atomic", [False, True])
async def test_the_key_of_a_batch_of_replays_is_kept(
    desk: Desk, payer: Customer, atomic: bool
) -> None:
    a, b = await payer.open(funds=100), await payer.open()
    items = [asked(a, b, amount, idempotency_key=f"item{amount}") for amount in (1, 2)]
    for item in items:
        await batch(payer, item)
    body = {"transfers": items, "atomic": atomic}
    first = await payer.post("/transfers/batches", body, key="batch")
    assert told(first.json()) == [("replayed", 99), ("replayed", 97)]
    assert "idempotency-replayed" not in first.headers
    again = await payer.post("/transfers/batches", body, key="batch")
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    other = body | {"transfers": [asked(a, b, 50)]}
    refused(await payer.post("/transfers/batches", other, key="batch"), 422, "idempotency_conflict")
    assert await payer.balance(a) == 97
    await desk.books()


async def test_the_same_batch_in_another_form_gets_the_first_answer(
    desk: Desk, payer: Customer
) -> None:
    a, b = await payer.open(funds=100), await payer.open()
    plain = asked(a, b, 5, description="Rent")
    first = await payer.post("/transfers/batches", {"transfers": [plain, plain]}, key="batch")
    by_number = asked(a, b, 5, to_account_id=..., to_account_number=b["account_number"])
    for same in (
        plain | {"description": " Rent\u2003"}, plain | {"reference": None, "currency": "USD"},
        by_number | {"description": "Rent"}, plain | {"to_account_number": None, "metadata": {}},
        plain | {"from_account_id": a["id"].upper(), "reference": " "},
    ):  # fmt: skip
        body = {"transfers": [same, plain], "atomic": False}
        again = await payer.post("/transfers/batches", body, key="batch")
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    for other in (
        plain | {"description": "rent"}, plain | {"idempotency_key": "x"}, plain | {"amount": 6},
        asked(b, a, 5, description="Rent"), plain | {"metadata": {"a": "b"}},
    ):  # fmt: skip
        body = {"transfers": [other, plain]}
        refused(
            await payer.post("/transfers/batches", body, key="batch"), 422, "idempotency_conflict"
        )
    await desk.books()


async def test_a_batch_is_the_same_when_an_account_it_names_is_opened_meanwhile(
    desk: Desk, payer: Customer
) -> None:
    a, b = await payer.open(funds=100), await payer.open()
    coming = account_number_of(await newest_ledger_number(desk) + 1)
    unknown = asked(a, b, 5, to_account_id=..., to_account_number=coming)
    body = {"transfers": [asked(a, b, 1), unknown]}
    first = await payer.post("/transfers/batches", body, key="batch")
    assert told(first.json()) == [("created", 99), ("rejected", "account_not_found")]
    assert (await payer.open())["account_number"] == coming
    again = await payer.post("/transfers/batches", body, key="batch")
    assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")
    other = {"transfers": [asked(a, b, 1), unknown | {"to_account_number": b["account_number"]}]}
    refused(await payer.post("/transfers/batches", other, key="batch"), 422, "idempotency_conflict")


async def newest_ledger_number(desk: Desk) -> int:
    ((number,),) = await owner.rows(desk.url, "SELECT max(id) FROM ledger_accounts")
    return int(number)


async def test_a_batch_that_was_wholly_refused_does_not_burn_its_key(
    desk: Desk, payer: Customer
) -> None:
    a, b = await payer.open(), await payer.open()
    item = asked(a, b, 5)
    refusal = await batch(payer, item, item, key="k")
    assert refusal["accepted"] == 0
    await payer.deposit(a, 100)
    assert (await batch(payer, item, item, key="k"))["accepted"] == 2


async def test_a_dry_batch_writes_nothing(desk: Desk, payer: Customer) -> None:
    a, b = await payer.open(funds=100), await payer.open()
    before = await desk.books()
    body = {"transfers": [asked(a, b, 60, idempotency_key="i"), asked(a, b, 60), asked(b, a, 60)]}
    good = [asked(a, b, 60), asked(b, a, 60)]
    for sent, expected in (
        (body, [("created", 40), ("rejected", "insufficient_funds"), ("created", 0)]),
        ({"transfers": good, "atomic": True}, [("created", 40), ("created", 0)]),
    ):
        response = await payer.post("/transfers/batches", sent, key="k", dry_run="true")
        dry = answered(response, 200)
        conforms(BatchOut, dry)
        assert (dry["id"], dry["dry_run"]) == (None, True)
        assert told(dry) == expected
        assert all(result.get("transfer_id") is None for result in dry["results"])
    assert await desk.books() == before
    real = answered(await payer.post("/transfers/batches", body, key="k"), 201)
    assert told(real)[0] == ("created", 40)


async def test_a_dry_run_answers_what_the_request_would_also_with_a_used_key(
    desk: Desk, payer: Customer
) -> None:
    """It answered 200 where the request was a conflict, and 400 where it was given again."""
    a, b = await payer.open(funds=100), await payer.open()
    item = asked(a, b, 60)
    transfers = {"transfers": [item | {"idempotency_key": "i"}, asked(a, b, 40)]}
    deposit = {"account_id": b["id"], "amount": 5, "currency": "USD"}
    requests = [
        ("/transfers/batches", transfers, {"transfers": [item]}),
        ("/transfers", item, item | {"amount": 61}),
        ("/simulations/deposits", deposit, deposit | {"amount": 6}),
    ]
    for path, body, other in requests:
        key = "i" if path == "/transfers" else path
        made = answered(await payer.post(path, body, key=key), 201)
        before = await desk.books()
        dry = await payer.post(path, body, key=key, dry_run="true")
        assert answered(dry, 200) == made | {"dry_run": True}
        assert dry.headers["idempotency-replayed"] == "true"
        for query in ({}, {"dry_run": "true"}):
            answer = await payer.post(path, other, key=key, **query)
            refused(answer, 422, "idempotency_conflict")
        assert await desk.books() == before
    items = {"transfers": [item | {"idempotency_key": "i"}, item | {"idempotency_key": "new"}]}
    for query in ({"dry_run": "true"}, {}, {"dry_run": "true"}):
        found = (await payer.post("/transfers/batches", items, **query)).json()
        assert told(found) == [("replayed", 40), ("rejected", "insufficient_funds")]
        assert found["results"][0]["transfer_id"] is not None


async def test_the_largest_batch_is_posted_while_others_are(desk: Desk, payer: Customer) -> None:
    a, b, c = await payer.open(funds=2_000), await payer.open(), await payer.open(funds=50)
    items = [asked(a, b, 1, description="é" * 255) for _ in range(2_000)]
    answers = await asyncio.gather(
        payer.post("/transfers/batches", {"transfers": items, "atomic": True}),
        *(payer.post("/transfers", asked(c, b, 1)) for _ in range(10)),
    )
    big = answered(answers[0], 201)
    assert (big["accepted"], big["rejected"]) == (2_000, 0)
    statuses = [answer.status_code for answer in answers[1:]]
    assert set(statuses) <= {201, 503}  # behind a long queue one is sent away, untouched
    ids = {result["transfer_id"] for result in big["results"]}
    assert len(ids) == 2_000
    assert (await payer.balance(a), await payer.balance(b)) == (0, 2_000 + statuses.count(201))
    await desk.books()

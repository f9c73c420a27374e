"""Errors that come thousands of times are told once in a while, with how many there were."""

import logging

import pytest

from guilder.core.sparse_log import SparseLog


def test_one_line_of_a_kind_is_logged_and_the_next_says_how_many_were_left_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = SparseLog(logging.getLogger("sparse"))
    for _ in range(3):
        log.tell("not answered", "the disk is full", route="/here")
    log.tell("not answered", "the database is away")
    log._every_seconds = 0.0
    log.tell("not answered", "the disk is full")
    assert [vars(record)["fields"] for record in caplog.records] == [
        {"cause": "the disk is full", "route": "/here"},
        {"cause": "the database is away"},
        {"cause": "the disk is full", "left_out": 2},
    ]

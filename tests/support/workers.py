"""Real processes for the tests: started once, given jobs, killed and replaced."""

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.support.bank import Reply
from tests.support.load import Told
from tests.support.waiting import LONG
from tests.support.worker import Job

ROOT = Path(__file__).resolve().parents[2]


class WorkerFailed(AssertionError):
    """A client in a worker saw something that no client may see, or the worker fell silent."""


class Worker:
    """One process and what it has said since its last job began."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
        )
        self._ended = threading.Event()
        self._end: dict[str, Any] = {}
        self.replies: list[Reply] = []
        self.job: Job | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def ended(self) -> bool:
        return self._ended.is_set()

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def begin(self, job: Job) -> None:
        """Hand over a job; it runs while this process goes on."""
        self.job = job
        self.replies = []
        self._end = {}
        self._ended.clear()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
        self._process.stdin.flush()

    def ask_to_stop(self) -> None:
        self._process.send_signal(signal.SIGUSR1)

    def wait(self, timeout: float) -> Told:
        """The end of the job; raises with what the worker said when it went wrong."""
        if not self._ended.wait(timeout):
            raise WorkerFailed(f"worker {self.job} did not end within {timeout} s")
        if "done" not in self._end:
            self._errors.seek(0)
            said = (self._end.get("failed") or self._errors.read().decode()).strip()
            last = said.rsplit("\n", 1)[-1] or f"ended with {self._process.poll()}"
            raise WorkerFailed(f"{last}\n{said[-2000:]}")
        troubles, refusals, accepted = self._end["done"]
        return Told(Counter(troubles), Counter(refusals), accepted)

    def kill(self) -> None:
        """SIGKILL; what it had said before is kept."""
        self._process.kill()
        self._process.wait(LONG)
        self._reader.join(LONG)

    def close(self) -> None:
        self.kill()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        self._errors.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if not line.endswith(b"\n"):
                break  # cut off by the kill
            message = json.loads(line)
            if "name" in message:
                rows = tuple(tuple(row) for row in message["rows"])
                self.replies.append(Reply(message["name"], rows))
            elif "done" in message or "failed" in message:
                self._end = message
                self._ended.set()
        self._ended.set()


class Crew:
    """Workers that outlive a test; whoever was killed has a successor."""

    def __init__(self) -> None:
        self._all: list[Worker] = []

    def take(self, count: int) -> list[Worker]:
        """The first ``count`` workers; starts those that are missing or have ended meanwhile."""
        while len(self._all) < count:
            self._all.append(Worker())
        for worker in self._all[:count]:
            if not worker.alive:
                self.replace(worker)
        return self._all[:count]

    def replace(self, worker: Worker) -> Worker:
        """Kill a worker with SIGKILL and put a new process in its place."""
        index = self._all.index(worker)
        worker.close()
        self._all[index] = Worker()
        return self._all[index]

    def close(self) -> None:
        for worker in self._all:
            worker.close()
        self._all = []


class Campaign:
    """Jobs running on a crew, and every reply that clients got, across kills and restarts."""

    def __init__(self, crew: Crew, jobs: Iterable[Job]) -> None:
        self._crew = crew
        jobs = list(jobs)
        self.workers = crew.take(len(jobs))
        self.replies: list[Reply] = []
        self.kills = 0
        for worker, job in zip(self.workers, jobs, strict=True):
            worker.begin(job)

    def kill(self, index: int) -> None:
        """Kill one worker and let a new one repeat from each client's last answer."""
        worker = self.workers[index]
        job = worker.job
        assert job is not None
        successor = self._crew.replace(worker)
        self.replies.extend(worker.replies)
        starts = last_answered(job, worker.replies)
        successor.begin(replace(job, starts=starts))
        self.workers[index] = successor
        self.kills += 1

    def busy(self, timeout: float) -> list[int]:
        """Workers that are in the midst of their load; waits for one."""
        found: list[int] = []

        def any_busy() -> bool:
            self.raise_failures()
            found[:] = [i for i, worker in enumerate(self.workers) if worker.replies]
            return bool(found)

        if not until(any_busy, timeout):
            raise WorkerFailed(f"no worker had a reply within {timeout} s")
        return found

    def raise_failures(self) -> None:
        """Raise at once when a worker has ended that should still be at work."""
        for worker in self.workers:
            if worker.ended:
                worker.wait(0)

    def wait_for_replies(self, count: int, timeout: float) -> None:
        """Until clients have had so many replies in all."""
        deadline = time.monotonic() + timeout
        while self.answered < count:
            self.raise_failures()
            if time.monotonic() > deadline:
                raise WorkerFailed(f"{self.answered} replies of {count} within {timeout} s")
            time.sleep(0.002)

    @property
    def answered(self) -> int:
        return len(self.replies) + sum(len(worker.replies) for worker in self.workers)

    def stop(self, timeout: float = LONG) -> Told:
        """Ask everybody to stop, once each has answered every client again; gather the ends."""
        for worker in self.workers:
            assert worker.job is not None
            clients = worker.job.clients
            until(lambda w=worker, n=clients: w.ended or len(w.replies) >= n, timeout)  # type: ignore[misc]
            worker.ask_to_stop()
        return self.finish(timeout)

    def abandon(self) -> None:
        """Put new processes in the places of all that still run; nothing after an orderly end."""
        for worker in self.workers:
            self._crew.replace(worker)
        self.workers = []

    def finish(self, timeout: float) -> Told:
        """Wait for every job's own end."""
        told = Told()
        for worker in self.workers:
            one = worker.wait(timeout)
            told.troubles += one.troubles
            told.refusals += one.refusals
            told.accepted += one.accepted
            self.replies.extend(worker.replies)
        self.workers = []
        return told


def last_answered(job: Job, replies: Iterable[Reply]) -> list[int]:
    """The last operation of each client that had an answer: it and the next are asked again."""
    starts = list(job.starts or [0] * job.clients)
    for reply in replies:
        client, number = reply.name.split("-")[0].split(".")[-2:]
        starts[int(client)] = max(starts[int(client)], int(number))
    return starts


def until(done: Callable[[], bool], timeout: float) -> bool:
    """Poll; tells whether it came true."""
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True

"""A run over a labelled folder, in the background: pictures are read, asked about through the server's API, judged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, TypeAlias

from generalist.types import Box, GeneralistError, Grounded, Mask
from generalist_serving.client import AsyncClient, ClientAnswer, ClientError
from generalist_serving.demo.answering import sentence
from generalist_serving.demo.inspect.folders import DrawingTask, Folder, Labelled, read_pictures
from generalist_serving.demo.inspect.judging import Judged, judge

log = logging.getLogger(__name__)

MOST_PICTURES = 1000
_AT_ONCE = 4
"""Pictures that are asked about side by side: enough for the server to batch, and visitors still get their turn."""
_OF_THE_PICTURE = (400, 413, 415, 422)
"""HTTP status of a picture that cannot be asked about; with any other, no picture can."""

State: TypeAlias = Literal["running", "done", "stopped", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is inspected: the first ``limit`` pictures of a folder with something to draw."""

    folder: Folder
    model: str | None
    task: DrawingTask
    by_class: bool
    limit: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Inspected:
    """A picture with what was found on it."""

    picture: Labelled
    found: tuple[Grounded, ...]
    answers: tuple[str, ...]
    judged: Judged


Cache: TypeAlias = MutableMapping[tuple[Any, ...], Inspected]


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    """What has come of it so far. ``version`` grows with every change; ``unread`` pictures were left out."""

    asked: Asked
    state: State = "running"
    inspected: list[Inspected] = field(default_factory=list)
    unread: int = 0
    error: str = ""
    version: int = 0
    task: asyncio.Task[None] | None = field(default=None, repr=False)

    @property
    def over(self) -> bool:
        return self.state != "running"

    def stop(self) -> None:
        """End it; what has come is kept."""
        if self.task is not None and not self.over:
            self.task.cancel()


def start(asked: Asked, client: AsyncClient, cache: Cache) -> Run:
    """Begin, within an event loop; ``cache`` keeps what was asked already."""
    run = Run(asked=asked)
    run.task = asyncio.create_task(_go(run, client, cache))
    return run


async def _go(run: Run, client: AsyncClient, cache: Cache) -> None:
    asked = run.asked
    pictures = read_pictures(asked.folder, asked.task, by_class=asked.by_class)
    try:
        while left := asked.limit - len(run.inspected) - run.unread:
            read = await asyncio.to_thread(lambda most: list(islice(pictures, most)), min(left, _AT_ONCE))
            if not read:
                break
            answers = [_inspect(picture, asked, client, cache) for picture in read if picture is not None]
            came = await asyncio.gather(*answers)
            run.inspected += [one for one in came if one is not None]
            run.unread += len(read) - len(answers) + came.count(None)
            run.version += 1
        run.state = "done"
    except asyncio.CancelledError:
        run.state = "stopped"
    except (ClientError, GeneralistError) as error:
        run.state, run.error = "failed", sentence(error)
    except Exception:
        log.exception("an inspection failed")
        run.state, run.error = "failed", "Something went wrong in the demo itself. Please try again."
    finally:
        run.version += 1


async def _inspect(picture: Labelled, asked: Asked, client: AsyncClient, cache: Cache) -> Inspected | None:
    """The picture with what the model finds on it; None where it cannot be asked about."""
    key = (asked.folder, asked.model, asked.task, asked.by_class, picture.id, picture.path)
    if key in cache:
        return cache[key]
    answers: list[ClientAnswer] = []
    for words in picture.questions:
        try:
            answers.append(await client.ask(picture.path, words, task=asked.task, model=asked.model))
        except GeneralistError:
            return None
        except ClientError as error:
            if error.status not in _OF_THE_PICTURE:
                raise
            return None
    found = [item for answer in answers for item in answer.outputs if isinstance(item.output, Box | Mask)]
    judged = await asyncio.to_thread(judge, picture.truth, found, picture.size)
    cache[key] = Inspected(
        picture=picture, found=tuple(found), answers=tuple(answer.text for answer in answers), judged=judged
    )
    return cache[key]

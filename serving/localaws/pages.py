"""Lists in pages, as AWS answers them: a client that reads only the first one is found out here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from serving.localaws.errors import AwsError
from serving.localaws.protocol import Members

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pages:
    """How does a service cut its lists?

    Attributes:
        size: the member that asks for so many at most.
        usual, most: how many there are without it, and at most.
        asked, told: the members that hold where to go on: of a request, of an answer.
        refused: the error's code for a place that no answer told.
    """

    size: str
    usual: int
    most: int
    asked: str
    told: str
    refused: str

    def cut(self, found: Sequence[T], params: Members) -> tuple[list[T], Members]:
        """Which of them are on the page that is asked for, and what does the answer say of the next one?"""
        token = str(params.get(self.asked) or "0")
        if not token.isdecimal():
            raise AwsError(self.refused, f"Invalid {self.asked}.")
        start, size = int(token), min(int(params.get(self.size) or self.usual), self.most)
        return list(found[start : start + size]), {self.told: str(start + size)} if start + size < len(found) else {}


# AWS Lambda and SageMaker API references, read 2026-11: Lambda gives 50 whatever more is asked for.
LAMBDA = Pages("MaxItems", 50, 50, "Marker", "NextMarker", "InvalidParameterValueException")
SAGEMAKER = Pages("MaxResults", 10, 100, "NextToken", "NextToken", "ValidationException")

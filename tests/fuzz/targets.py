"""What is fuzzed: each parser that a peer's bytes reach, and the errors that it may refuse them with."""

from collections.abc import Mapping

from tests.fuzz import of_models, of_the_pbx, of_vendors
from tests.fuzz.target import Target

TARGETS: Mapping[str, Target] = {**of_the_pbx.TARGETS, **of_vendors.TARGETS, **of_models.TARGETS}

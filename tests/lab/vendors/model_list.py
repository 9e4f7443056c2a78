"""A vendor's list of its models, as OpenAI's reference has it.

https://developers.openai.com/api/docs/api-reference/models/list; `shutdown_date` is a day or null (openai 3.54,
types/model.py).
"""

from collections.abc import Mapping
from typing import Any


def model_list(models: Mapping[str, str | None]) -> dict[str, Any]:
    """The answer to GET /v1/models; `models` are the days on which they end, None where none is told, by name."""
    listed = [
        {"id": name, "object": "model", "created": 1686935002, "owned_by": "system", "shutdown_date": day}
        for name, day in models.items()
    ]
    return {"object": "list", "data": listed}

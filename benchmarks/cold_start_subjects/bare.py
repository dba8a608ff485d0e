"""Imports nothing: what awslambdaric alone costs."""


def handler(event: object, context: object) -> dict[str, int]:
    """Answer."""
    return {"statusCode": 200}

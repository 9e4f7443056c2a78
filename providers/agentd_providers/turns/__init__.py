"""Turn taking, pure: when a caller begins, pauses, goes on and has finished."""

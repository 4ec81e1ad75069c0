"""Parts of checkpoint files: dotted names, bfloat16, strict JSON, and files that are replaced in one step."""

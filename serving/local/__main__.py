"""``python -m serving.local``: the local AWS on its own, for any project."""

from serving.local.commands import local

if __name__ == "__main__":
    local(prog_name="python -m serving.local")

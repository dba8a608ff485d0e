"""``python -m serving.localaws``: the local AWS on its own, for any project."""

from serving.localaws.commands import local

if __name__ == "__main__":
    local(prog_name="python -m serving.localaws")

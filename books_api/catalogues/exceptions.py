"""What an import refuses. The text is what the client reads."""


class ImportRunning(Exception):
    def __init__(self) -> None:
        super().__init__("Another import of this user is still running.")

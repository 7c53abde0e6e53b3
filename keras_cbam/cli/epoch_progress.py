"""Show the progress of training on the terminal."""

from __future__ import annotations

from typing import Any

import keras
from rich.progress import Progress


class EpochProgress(keras.callbacks.Callback):
    """Shows the batches of an epoch and prints a line at its end."""

    def __init__(self, bar: Progress):
        super().__init__()
        self.bar = bar

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        name = f"epoch {epoch + 1}"
        self.task = self.bar.add_task(name, total=self.params.get("steps"), note="")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        note = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
        self.bar.update(self.task, completed=batch + 1, note=note)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        scores = "  ".join(f"{name} {float(value):.4f}" for name, value in (logs or {}).items())
        self.bar.remove_task(self.task)
        self.bar.console.print(f"epoch {epoch + 1}  {scores}", highlight=False)

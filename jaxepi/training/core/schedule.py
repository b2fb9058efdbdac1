"""Learning rates and the end of training, decided on the host from validation losses."""

import dataclasses
import math

from jaxepi.training.settings import OptimizerSettings

IMPROVEMENT = 1e-4
"""A loss has improved when it is lower than the best by more than this part."""


@dataclasses.dataclass
class Schedule:
    """The rate at any moment; `factor`, `lowest`, `best_epoch` and `waiting` are its state.

    Attributes:
        settings: of the optimizer. epochs: planned.
        factor: of the peak rate, lowered on plateaus. lowest: best validation loss so far. best_epoch: its epoch.
        waiting: epochs since the last improvement or lowering.
    """

    settings: OptimizerSettings
    epochs: int
    factor: float = 1.0
    lowest: float = math.inf
    best_epoch: int = -1
    waiting: int = 0

    def rate(self, passed: float | int) -> float:
        """Learning rate after `passed` epochs, a fraction."""
        s = self.settings
        warm = min(1.0, (passed + 1e-2) / s.warmup) if s.warmup else 1.0
        if s.schedule == "plateau":
            return s.learning_rate * warm * self.factor
        along = min(1.0, passed / self.epochs)
        return s.learning_rate * warm * (s.final + (1 - s.final) * 0.5 * (1 + math.cos(math.pi * along)))

    def after(self, epoch: int, loss: float) -> bool:
        """Take note of an epoch's validation loss; whether it is the best."""
        s = self.settings
        if loss < self.lowest * (1 - IMPROVEMENT):
            self.lowest, self.best_epoch, self.waiting = loss, epoch, 0
            return True
        self.waiting += 1
        if s.schedule == "plateau" and self.waiting >= s.patience and epoch >= s.warmup:
            self.factor, self.waiting = self.factor * s.factor, 0
        return False

    def over(self, epoch: int) -> str:
        """Why training ends before this epoch begins; empty while it goes on."""
        s = self.settings
        if epoch >= self.epochs:
            return f"all {self.epochs} epochs are done"
        if self.best_epoch >= 0 and epoch - 1 - self.best_epoch >= s.stop:
            return f"the validation loss has not improved for {s.stop} epochs"
        if s.schedule == "plateau" and self.factor < s.final:
            return f"the learning rate fell below {s.final:g} of its peak"
        return ""

    def memory(self) -> dict[str, float | int]:
        """What must be kept to go on."""
        return {n: getattr(self, n) for n in ("factor", "lowest", "best_epoch", "waiting")}

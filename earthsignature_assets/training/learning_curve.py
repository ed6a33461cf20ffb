"""Learning curves: loss and validation accuracy of every epoch, and their plot."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class LearningCurve:
    """Mean loss of every epoch and the validation accuracy after it, NaN without a validation region."""

    losses: list[float] = field(default_factory=list)
    accuracies: list[float] = field(default_factory=list)

    def add(self, loss: float, accuracy: float) -> bool:
        """Add an epoch, and tell whether its accuracy is the best so far."""
        best = not math.isnan(accuracy) and accuracy > max(self.accuracies, default=-math.inf)
        self.losses.append(loss)
        self.accuracies.append(accuracy)
        return best

    def exhausted(self, patience: int) -> bool:
        """Tell whether the best accuracy is at least `patience` epochs old; never with a patience of 0."""
        if not patience or not self.accuracies or math.isnan(self.accuracies[-1]):
            return False
        return len(self.accuracies) - 1 - self.accuracies.index(max(self.accuracies)) >= patience


def draw_curves(curves: Mapping[str, LearningCurve], path: Path, title: str) -> None:
    """Plot losses above and validation accuracies below as a PNG, one line a training. Needs matplotlib."""
    # A backend without a screen, and no state that other figures share.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 6), dpi=90, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for name, curve in curves.items():
        epochs = range(1, len(curve.losses) + 1)
        upper.plot(epochs, curve.losses, label=name)
        lower.plot(epochs, [100 * accuracy for accuracy in curve.accuracies], label=name)
    upper.set(title=title, ylabel="mean loss of the epoch")
    lower.set(xlabel="epoch", ylabel="accuracy on the region held out, %")
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    upper.legend(fontsize=8)
    figure.savefig(path)

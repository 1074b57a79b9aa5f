"""The page about a training run: ``report.html`` in its folder."""

from ppkd.experiment.report.write import FILE_NAME, report_training, write_report

__all__ = ["FILE_NAME", "report_training", "write_report"]

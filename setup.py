"""The folders without Python that travel inside the package; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

SHIPPED = ("configs", "slim")

setup(
    packages=[*find_packages(include=["ppkd", "ppkd.*"]), *(f"ppkd.{folder}" for folder in SHIPPED)],
    package_dir={f"ppkd.{folder}": folder for folder in SHIPPED},
    package_data={"ppkd.report": ["templates/*"], **{f"ppkd.{folder}": ["**/*.yml"] for folder in SHIPPED}},
)

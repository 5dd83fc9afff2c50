"""What an installed package holds beside its code: the configs, and the published numbers."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["benchmark*", "victims*", "attacks*"]),
        "benchmark.conf",
        "benchmark.results",
    ],
    package_dir={"benchmark.conf": "conf", "benchmark.results": "results"},
)

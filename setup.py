"""What setup.cfg cannot say: the packages below zoo/ and benchmarks/, and the manifests as data of `zoo.manifests`."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["zoo", "zoo.*", "benchmarks", "benchmarks.*"]), "zoo.manifests"])

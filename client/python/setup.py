"""Builds libwcfs into the package. It is loaded by ctypes, so any Python 3 will do."""
import os
import re
from glob import glob

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel

os.chdir(os.path.dirname(os.path.abspath(__file__)))
library = os.path.join("..", "c")
with open(os.path.join(library, "wcfs.h")) as header:
    version = re.search(r'^#define WCFS_VERSION "(.*)"', header.read(), re.M).group(1)


class BuildLibrary(build_ext):
    """Builds a plain library, that is no module of Python."""

    def get_ext_filename(self, name):
        return os.path.join(*name.split(".")) + ".so"


class AnyPython(bdist_wheel):
    """Says that the wheel is for this machine, but for any Python 3."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(
    version=version,
    ext_modules=[
        Extension(
            "wcfs.libwcfs",
            sorted(glob(os.path.join(library, "*.c"))),
            depends=glob(os.path.join(library, "*.h")),
            extra_compile_args=["-std=c11", "-D_GNU_SOURCE", "-O2", "-pthread"],
            extra_link_args=["-pthread", "-Wl,-z,now", "-Wl,--version-script=" + os.path.join(library, "libwcfs.map")],
        )
    ],
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": AnyPython},
)

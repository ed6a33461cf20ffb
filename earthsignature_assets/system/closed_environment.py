"""Keep variables and files that were meant for other programs out of GDAL and PROJ.

A shell that activates another installation, or a user's GDAL configuration file, changes how these libraries read,
reproject and sign. Nothing of that is a setting of ours, so the programs of this package start without it.
"""

import os
from collections.abc import MutableMapping

_FOREIGN = ("PROJ_", "GDAL_", "OGR_", "OSR_", "CPL_", "VSI_")


def close_environment(environment: MutableMapping[str, str] = os.environ) -> list[str]:
    """Remove the variables of GDAL and PROJ from the environment, and switch GDAL's configuration files off.

    Call it when a program starts, before GDAL or PROJ is used. Libraries that other people's programs import never
    call it.

    Returns:
        The names of the variables that were removed.
    """
    removed = [name for name in environment if name.startswith(_FOREIGN) and name != "GDAL_CONFIG_FILE"]
    for name in removed:
        del environment[name]
    environment["GDAL_CONFIG_FILE"] = os.devnull
    return removed

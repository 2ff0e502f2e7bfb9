"""The verb `config`: a configuration explained."""

from __future__ import annotations

from typing import Annotated

import typer

from lidar_ebm.cli.verb import Verb


def config(
    name: Annotated[
        str | None, typer.Argument(help="YAML file, or the name of a preset in configs/; the defaults if none.")
    ] = None,
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value settings to change.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON schema of configurations, for editors.")] = False,
) -> None:
    """Print a configuration with every default, and what each setting means."""
    from lidar_ebm.config.schema import resolved_yaml, schema_json

    typer.echo(schema_json() if schema else resolved_yaml(name, overrides), nl=False)


VERBS = (
    Verb(config, "`lidar-ebm config sassd_ebm_car training.ema_decay=0.999 > mine.yaml`", panel="Training", place=50),
)

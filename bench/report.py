"""The tables on the terminal."""

from rich.console import Console
from rich.table import Table

from bench.results import Figure, Results, bars, ratios


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:,.1f}"


def _row(figure: Figure) -> tuple[str, ...]:
    cores = " ".join(f"{name} {value:.2f}" for name, value in figure.cpu.items())
    return (
        figure.section,
        figure.name,
        figure.database,
        str(figure.workers or ""),
        f"{figure.rate:,.0f} {figure.unit}",
        _milliseconds(figure.p50_ms if figure.p50_ms is not None else figure.mean_ms),
        _milliseconds(figure.p95_ms),
        _milliseconds(figure.p99_ms),
        str(figure.errors),
        f"{min(figure.runs):,.0f} to {max(figure.runs):,.0f}",
        cores,
    )


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def print_report(results: Results, console: Console) -> None:
    """Print machine, figures, ratios, checks and bars."""
    _print_machine(results, console)
    table = _table(
        "Figures (medians; TPC-B: mean latency under p50)",
        *("section", "what", "database", "workers", "rate", "p50 ms", "p95 ms", "p99 ms", "errors"),
        *("runs", "cores used"),
    )
    for figure in results.figures:
        table.add_row(*_row(figure))
    console.print(table)
    table = _table("Ratios", "what", "ratio")
    for name, ratio in ratios(results).items():
        table.add_row(name, f"{ratio:.3g}")
    console.print(table)
    table = _table("Checks", "what", "holds", "detail")
    for check in results.checks:
        holds = "yes" if check["holds"] else "[red]NO[/red]"
        table.add_row(check["name"], holds, str(check["detail"])[:300])
    console.print(table)
    table = _table("Bars", "what", "wanted", "found", "holds")
    for bar in bars(results):
        holds = {True: "[green]pass[/green]", False: "[red]FAIL[/red]", None: "-"}[bar.holds]
        table.add_row(bar.name, bar.wanted, bar.found, holds)
    console.print(table)
    for name in results.disturbed():
        console.print(f"[yellow]Disturbed by other work on the machine:[/yellow] {name}")
    for note in results.notes:
        console.print(f"Note: {note}")


def _print_machine(results: Results, console: Console) -> None:
    """Print what was measured on."""
    table = _table("Machine", "what", "found")
    for name, value in results.machine.items():
        shown = (
            ", ".join(f"{k} {v}" for k, v in value.items())
            if isinstance(value, dict)
            else str(value)
        )
        table.add_row(name, shown)
    for database, settings in results.durability.items():
        table.add_row(database, ", ".join(f"{name}={value}" for name, value in settings.items()))
    console.print(table)

"""The command line: thin. Exit codes: 0 done, 2 fix the input, 3 a party misbehaved, 4 try again, 130 interrupted."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vfl import cli_agreement, cli_api, cli_models, cli_party, cli_retention, cli_runs, cli_score, cli_serve, cli_settle
from vfl.learn.evaluation_parameters import EvaluationParameters
from vfl.reasons import MOST

app = typer.Typer(
    name="tallystick",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
EXIT_USAGE, EXIT_PROTOCOL, EXIT_TRANSPORT = 2, 3, 4


_SCENARIO = typer.Argument(
    metavar="SCENARIO", help="A shipped scenario (see `tallystick scenarios`) or a .toml file.", show_default=False
)
_OUT = typer.Option(metavar="DIR", help="Directory for the results.  [default: runs/NAME-TIME]")
_SUMMARY = typer.Option("--json", help="Print the summary as JSON on stdout, and nothing else.")
_CHECK = typer.Option("--config-check", help="Check the scenario and its tables, then stop.")
_PROCESSES = typer.Option("--processes", help="Run every party as its own process over loopback sockets.")
_PARTIES = typer.Option(metavar="A,B,...", help="Only these parties, for instance bank,telecom.")
_MODEL = typer.Option(metavar="KIND", help="gbdt or scorecard, for a shipped scenario.  [default: gbdt]")
_SEED = typer.Option(metavar="TEXT", help="Derive all randomness from this text: for tests only.")
_TIMEOUT = typer.Option(metavar="SECONDS", help="With --processes: how long to wait for any word.", min=1, max=86400)
_ALIGNED = typer.Option(metavar="DIR", help="Train again on the customers that the finished run in DIR aligned.")
_INIT_MODEL = typer.Option(metavar="DIR", help="Go on from the trees of the finished run in DIR.")
_TIMESTAMP = typer.Option(metavar="URL", help="Have the final heads stamped by this RFC 3161 authority.")
_TSA = typer.Option(metavar="FILE", help="With --timestamp: the authority's certificates (PEM); may be repeated.")
_AGREEMENT = typer.Option(metavar="FILE", help="Run with other companies under this agreement, which all signed.")
_PATIENCE = typer.Option(
    metavar="SECONDS", help="With --agreement: end it when it stands still so long.  [default: party.toml]", min=1
)
_WITNESS = typer.Option(
    metavar="URL#VKEY", help="A witness outside the run that countersigns the final heads; may be repeated."
)


@app.command()
def run(
    scenario: Annotated[str | None, _SCENARIO] = None,
    out: Annotated[Path | None, _OUT] = None,
    as_json: Annotated[bool, _SUMMARY] = False,
    config_check: Annotated[bool, _CHECK] = False,
    processes: Annotated[bool, _PROCESSES] = False,
    parties: Annotated[str | None, _PARTIES] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run of this --out.")] = False,
    aligned: Annotated[Path | None, _ALIGNED] = None,
    init_model: Annotated[Path | None, _INIT_MODEL] = None,
    model: Annotated[str | None, _MODEL] = None,
    seed: Annotated[str | None, _SEED] = None,
    timeout: Annotated[int, _TIMEOUT] = 600,
    witness: Annotated[list[str] | None, _WITNESS] = None,
    timestamp: Annotated[str | None, _TIMESTAMP] = None,
    tsa: Annotated[list[Path] | None, _TSA] = None,
    agreement: Annotated[Path | None, _AGREEMENT] = None,
    config: cli_runs.Folder = cli_party.HERE,
    passphrase_file: cli_party.Passphrase = None,
    name: Annotated[str | None, typer.Option("--run", metavar="RUN", help="With --agreement: go on with it.")] = None,
    patience: Annotated[int | None, _PATIENCE] = None,
) -> None:
    """Align, train and score with all parties of a scenario.

    Leaves the results, one folder a party, and an audit bundle that anybody can verify. With --agreement the other
    parties are companies of their own that serve it (`tallystick party serve`).
    """
    if agreement is not None:
        others = (scenario, out, parties, aligned, init_model, model, seed, witness, timestamp, tsa)
        cli_runs.require_alone(any(others) or config_check or processes or resume)
        cli_runs.run(agreement, config, name, passphrase_file, patience, as_json)
        return
    if scenario is None:
        raise typer.BadParameter("name a scenario, or an --agreement between companies", param_hint="SCENARIO")
    from vfl import commands  # imported late: `--help` must not pay for numpy
    from vfl.outside_commands import Outsiders

    asked = Outsiders.of(witness or [], timestamp, tsa or [])
    commands.run(
        scenario,
        out,
        as_json,
        config_check,
        processes,
        parties,
        resume,
        seed,
        timeout,
        aligned,
        init_model,
        model,
        asked,
    )


@app.command()
def scenarios(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One of them: its whole story.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """List the scenarios that ship, or tell the story of one."""
    from scenarios import describe, readme, scenario_names

    if name is not None:
        told = readme(name)
        typer.echo(json.dumps({"name": name, "about": describe(name), "story": told}) if as_json else told, nl=as_json)
        return
    found = {name: describe(name) for name in scenario_names()}
    if as_json:
        typer.echo(json.dumps(found, indent=2))
        return
    typer.echo("\n\n".join([*found.values(), "The whole story of one: tallystick scenarios NAME"]))


@app.command()
def tune(
    scenario: Annotated[str, typer.Argument(metavar="SCENARIO", help="A shipped scenario, or a .toml file.")],
    trials: Annotated[int, typer.Option(min=1, max=100_000, help="Trials in all, also after --resume.")] = 30,
    metric: Annotated[str, typer.Option(metavar="NAME", help="auc or ks, of customers kept aside.")] = "auc",
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where trials are kept.  [default: runs/SCENARIO-tune]")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in DIR.")] = False,
    model: Annotated[str | None, _MODEL] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Search for better parameters of a model.

    Every trial is a real joint training; the hold-out is never looked at.
    What is looked through stands in the file under [tune]; without it, usual ranges. The best parameters are written
    as a scenario file.
    """
    from vfl import tune_commands

    tune_commands.tune(scenario, model, out, trials, metric, resume, as_json)


@app.command()
def replay(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    party: Annotated[str, typer.Option(metavar="NAME", help="Whose part to run again.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check one party's work by doing it again.

    The party runs again from its data, its seed and the messages it received; every byte it sent must come out the
    same, and so must its share of the model.
    """
    from vfl import commands

    commands.replay(directory, party, as_json)


@app.command()
def explain(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    customer: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="A hold-out customer, as in predictions.csv.")
    ] = None,
    top: Annotated[int, typer.Option(metavar="COUNT", help="Reasons of a customer at most.", min=1, max=100)] = MOST,
    table: Annotated[
        bool, typer.Option("--csv", help="Write the reasons of all hold-out customers into the active party's folder.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what each feature does, or why a score is what it is.

    Attributions are exact Shapley values, computed by the active party alone: no partner is asked, no value is shown.
    """
    from vfl import model_commands

    model_commands.explain_run(directory, customer, top, table, as_json)


@app.command()
def export(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where to write the model.")],
    form: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="json: one party's share; lightgbm: all shares as one model."),
    ] = "json",
    party: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose share.  [default: the active party's]")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Write a model to a file.

    Shares are merged only where the agreement allows it: `merge_models = true` under [privacy].
    """
    from vfl import model_commands

    model_commands.export(directory, form, out, party, as_json)


app.command("purge")(cli_retention.purge)


@app.command()
def countersign(
    directory: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a finished run.")],
    witness: Annotated[list[str] | None, _WITNESS] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Have outside witnesses countersign the final heads.

    Their lines go into the ledgers and the audit bundle, and policy.txt then asks for them. Without --witness those
    of policy.txt are asked again, for instance after a purge.
    """
    from vfl import outside_commands

    outside_commands.countersign(directory, witness or [], as_json)


_JUDGED = EvaluationParameters()


def _about(name: str) -> dict[str, Any]:
    """Explanation and range of an evaluation parameter, as typer takes them."""
    found = next(each.metadata for each in fields(EvaluationParameters) if each.name == name)
    return {"help": f"{found['about'][0].upper()}{found['about'][1:]}.", "min": found["low"], "max": found["high"]}


@app.command()
def evaluate(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    cutoffs: Annotated[
        list[float] | None,
        typer.Option("--cutoff", metavar="PD", help="Approve up to this probability of default; may be repeated."),
    ] = None,
    resamples: Annotated[int, typer.Option(metavar="COUNT", **_about("resamples"))] = _JUDGED.resamples,
    groups: Annotated[int, typer.Option(metavar="COUNT", **_about("groups"))] = _JUDGED.groups,
    profit_good: Annotated[float, typer.Option(metavar="X", **_about("profit_good"))] = _JUDGED.profit_good,
    loss_bad: Annotated[float, typer.Option(metavar="Y", **_about("loss_bad"))] = _JUDGED.loss_bad,
    plots: Annotated[bool, typer.Option("--plots", help="Draw PNG and SVG pictures into DIR/plots.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Judge the joint model as credit people do.

    AUC, KS and Gini with intervals, lift, score bands, stability, calibration, and what approving how many would earn,
    beside the bank alone and all columns pooled.
    """
    from vfl import evaluation_commands

    parameters = EvaluationParameters(resamples=resamples, groups=groups, profit_good=profit_good, loss_bad=loss_bad)
    evaluation_commands.evaluate_run(directory, parameters, cutoffs or [], plots, as_json)


app.add_typer(cli_runs.runs, name="runs")
attack = typer.Typer(no_args_is_help=True, help="Attack a finished run as its partners could.")
app.add_typer(attack, name="attack")


@attack.command("node-sets")
def attack_node_sets(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    party: Annotated[str, typer.Option(metavar="NAME", help="The partner that attacks.")],
    known: Annotated[
        int, typer.Option(metavar="COUNT", help="Customers whose label it knows.", min=5, max=10_000)
    ] = 40,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Guess labels from the tree nodes that a partner was shown.

    Prints the AUC of the guesses, and by how much they are better than guesses from the partner's own columns.
    """
    from vfl import commands

    commands.attack_node_sets(directory, party, known, as_json)


@attack.command("all")
def attack_all(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Every attack that a run's files allow, for every partner."""
    from vfl import commands

    commands.attack_all(directory, as_json)


audit = typer.Typer(no_args_is_help=True, help="Have a party's work computed again by a regulator.")
app.add_typer(audit, name="audit")
_NONCE = typer.Option(metavar="HEX", help="The regulator's nonce, drawn after the run: 16 bytes or more.")
_CELLS = typer.Option(metavar="COUNT", help="How many messages are drawn.", min=1, max=100_000)


@audit.command("key")
def audit_key(
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the private key goes.")],
    name: Annotated[str, typer.Option(metavar="NAME", help="Whose key it is.")] = "regulator",
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Make a regulator's key: parties encrypt openings to it, and it signs findings."""
    from vfl import audit_commands

    audit_commands.make_key(out, name, as_json)


@audit.command("open")
def audit_open(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    party: Annotated[str, typer.Option(metavar="NAME", help="Who is audited: a partner, or the active party.")],
    to: Annotated[str, typer.Option(metavar="HEX", help="The regulator's public key for openings.")],
    nonce: Annotated[str, _NONCE],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the openings go.")],
    cells: Annotated[int, _CELLS] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show a regulator what the drawn messages of a party were computed from.

    It is encrypted to the regulator: of a partner feature columns, of the active party labels and its share of the
    model; of both the seeds of the drawn rounds and received messages. No ids.
    """
    from vfl import audit_commands

    audit_commands.open_to(directory, party, to, nonce, cells, out, as_json)


@audit.command("check")
def audit_check(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="An audit bundle, or the directory of a run.")],
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Openings of one party or several.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The regulator's private key.")],
    policy: Annotated[Path, typer.Option(metavar="FILE", help="Whose keys count.")],
    nonce: Annotated[str, _NONCE],
    cells: Annotated[int, _CELLS] = 10,
    evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where signed findings go.  [default: nowhere]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The signed result, for `tallystick report --audit`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Compute a party's drawn messages again and compare them with the ledger.

    Prints each verdict and how likely a cheat would have shown. Exit code 3: a message came out otherwise.
    """
    from vfl import audit_commands

    audit_commands.check(bundle, files, key, policy, nonce, cells, evidence, as_json, out)


challenge = typer.Typer(no_args_is_help=True, help="Ask again, with a deadline, where a peer fell silent.")
app.add_typer(challenge, name="challenge")
_STOPPED = typer.Argument(metavar="DIR", help="What --out was of the interrupted run.")
_OWN = typer.Option("--party", metavar="NAME", help="Whose folder it is.")
_URL = typer.Option("--witness", metavar="URL", help="An independent witness, such as a regulator's.")
_KEY = typer.Option("--witness-key", metavar="VKEY", help="Its key, as its policy line has it.")


@challenge.command("send")
def challenge_send(
    directory: Annotated[Path, _STOPPED],
    party: Annotated[str, _OWN],
    witness: Annotated[str, _URL],
    witness_key: Annotated[str, _KEY],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the challenge goes, for the peer.")],
    within: Annotated[int, typer.Option(metavar="MINUTES", help="How long the peer has.", max=100_000)] = 60,
) -> None:
    """Challenge the peer whose answer the run stopped waiting for; a witness sees it."""
    from vfl import challenge_commands

    challenge_commands.send_to(directory, party, within, witness, witness_key, out)


@challenge.command("hear")
def challenge_hear(
    directory: Annotated[Path, _STOPPED],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The challenge.")],
    party: Annotated[str, _OWN],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Where the answer to it goes, for the asker.")],
) -> None:
    """Put on record that a challenge was heard. Then go on with the run before the deadline."""
    from vfl import challenge_commands

    challenge_commands.heard(directory, party, file, out)


@challenge.command("show")
def challenge_show(
    directory: Annotated[Path, _STOPPED],
    party: Annotated[str, _OWN],
    witness: Annotated[str, _URL],
    witness_key: Annotated[str, _KEY],
) -> None:
    """Show the witness that this party is there, where the asker does not let the run go on."""
    from vfl import challenge_commands

    challenge_commands.shown(directory, party, witness, witness_key)


@challenge.command("accuse")
def challenge_accuse(
    directory: Annotated[Path, _STOPPED],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What the peer made when it heard the challenge.")],
    party: Annotated[str, _OWN],
    witness: Annotated[str, _URL],
    witness_key: Annotated[str, _KEY],
) -> None:
    """Write evidence against a peer that heard a challenge and dropped out."""
    from vfl import challenge_commands

    challenge_commands.accused(directory, party, file, witness, witness_key)


class _ReportGroup(TyperGroup):
    """`report DIR` is short for `report make DIR`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["make", *args]
        return list(super().parse_args(ctx, args))


report = typer.Typer(
    cls=_ReportGroup,
    no_args_is_help=True,
    help="Write the report on a finished run, or one decision of it.",
)
app.add_typer(report, name="report")
_Language = Annotated[str, typer.Option(metavar="LANG", help="en or zh.")]


@report.command("make")
def report_make(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    regime: Annotated[
        str, typer.Option(metavar="NAME", help="Crosswalk for eu-ai-act, us-sr26-2, cn-jrt, or all of them.")
    ] = "all",
    lang: _Language = "en",
    form: Annotated[str, typer.Option("--format", metavar="A,B,...", help="html, json and pdf.")] = "html,json",
    about: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What a run cannot know: see `tallystick report template`.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to write the report.  [default: DIR/report]")
    ] = None,
    date: Annotated[str, typer.Option(metavar="DATE", help="A date to print, as 2026-01-31.  [default: none]")] = "",
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The policy file with the keys that count.  [default: DIR/policy.txt]"),
    ] = None,
    audits: Annotated[
        list[Path] | None,
        typer.Option("--audit", metavar="FILE", help="A result of `tallystick audit check --out`; may be repeated."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Write the report on a run: what the model is, how good, and whether it holds.

    Every figure links to the ledger entry that proves it. `report DIR` is short for `report make DIR`.
    """
    from vfl import report_commands

    report_commands.make_report(directory, regime, lang, form, about, out, date, as_json, policy, audits or [])


@report.command("subject")
def report_subject(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="The directory of a finished run.")],
    customer: Annotated[str, typer.Option("--id", metavar="ID", help="A hold-out customer, as in predictions.csv.")],
    lang: _Language = "en",
    form: Annotated[str, typer.Option("--format", metavar="NAME", help="html, json or text.")] = "text",
    review: Annotated[str, typer.Option(metavar="TEXT", help="What a person says who reviewed the decision.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it.  [default: stdout]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show one decision with its proof, and nothing about anybody else."""
    from vfl import report_commands

    report_commands.subject(directory, customer, lang, "json" if as_json else form, review, out)


@report.command("check")
def report_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A report or an extract in JSON.")],
    policy: Annotated[Path, typer.Option(metavar="FILE", help="The policy file with the keys that count.")],
    bundle: Annotated[Path | None, typer.Option(metavar="FILE", help="The audit bundle of a report.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check every figure of a report, or one decision, against the ledger."""
    from vfl import report_commands

    report_commands.check(file, policy, bundle, as_json)


@report.command("template")
def report_template(
    directory: Annotated[
        Path | None, typer.Option("--run", metavar="DIR", help="A run, whose parties get a table each.")
    ] = None,
    lang: _Language = "en",
    as_json: Annotated[bool, typer.Option("--json", help="Only the keys, as JSON.")] = False,
) -> None:
    """Print the file for --about with every key and what belongs there."""
    from vfl import report_commands

    report_commands.template(lang, directory, as_json)


app.add_typer(cli_party.party, name="party")
app.add_typer(cli_agreement.agreement, name="agreement")
app.add_typer(cli_api.api_key, name="api-key")
app.add_typer(cli_models.models, name="models")
app.add_typer(cli_settle.settle, name="settle")
app.command("serve")(cli_serve.serve)
app.command("score")(cli_score.score)
app.command("decisions")(cli_retention.decisions)


def _version(wanted: bool) -> None:
    if wanted:
        version()
        raise typer.Exit


@app.callback()
def options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Joint credit models across companies, under encryption, with ledgers that a regulator can verify alone."""


@app.command()
def version() -> None:
    """Print the version."""
    from vfl import __version__

    typer.echo(__version__)


def main() -> None:
    """Entry point: errors become sentences and exit codes."""
    # The matrix products of a run are small: threads of OpenBLAS that wait for the next one double its CPU time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from vfl.errors import AgreementError, ProtocolError, UsageError, VflError

    try:
        app(prog_name="tallystick")
    except VflError as error:
        typer.echo(f"error: {error}", err=True)
        if error.remedy:
            typer.echo(f"  to do: {error.remedy}", err=True)
        if isinstance(error, UsageError | AgreementError):
            sys.exit(EXIT_USAGE)
        sys.exit(EXIT_PROTOCOL if isinstance(error, ProtocolError) else EXIT_TRANSPORT)


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# The whole story of two companies on one machine, as processes: from two empty folders to a restored backup.
#     deploy/drill.sh DIR [BIN]       DIR: a new folder; BIN: where tallystick and python are, by default those of the PATH
# Exits 0 and says "drill: all steps hold", or stops at the step that does not.
set -euo pipefail
dir=$1
bin=${2:-$(dirname "$(command -v tallystick)")}
[ ! -e "$dir" ] || { echo "$dir exists: name a new folder" >&2; exit 2; }
mkdir -p "$dir"
cd "$dir"
PATH=$bin:$PATH
bank=127.0.0.1:${BANK_PORT:-7443} telecom=127.0.0.2:${TELECOM_PORT:-7443} metrics=${METRICS_PORT:-9464}
serving=
trap '[ -z "$serving" ] || kill "$serving" 2>/dev/null || true' EXIT
step() { echo "drill: $*"; }
serve() {
    tallystick party serve --config telecom --passphrase-file telecom.pass --metrics-port "$metrics" 2>>serve.log &
    serving=$!
    for _ in $(seq 300); do
        python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:$metrics/readyz', timeout=1)" 2>/dev/null && return
        sleep 0.2
    done
    echo "the telecom does not get ready: see $dir/serve.log" >&2
    return 1
}

step "two companies, their tables and their cards"
python - <<'PY'
import numpy as np, pandas as pd
rng = np.random.default_rng(1)
income, calls = rng.normal(size=(2, 900))
ids = [f"C-{number}" for number in range(900)]
default = (rng.normal(size=900) > income + calls).astype(int)
pd.DataFrame({"customer_id": ids, "income": income, "default": default}).to_csv("bank.csv", index=False)
pd.DataFrame({"customer": ids, "calls": calls}).sample(800, random_state=1).to_csv("telecom.csv", index=False)
PY
umask 077
for name in bank telecom; do python -c "import secrets; print(secrets.token_urlsafe(24))" > $name.pass; done
tallystick party init bank --name bank --address "$bank" --passphrase-file bank.pass >/dev/null
tallystick party init telecom --name telecom --address "$telecom" --passphrase-file telecom.pass >/dev/null
python - <<'PY'
from pathlib import Path
for name, lines in {"bank": 'table = "../bank.csv"\nid = "customer_id"\nlabel = "default"\n',
                    "telecom": 'table = "../telecom.csv"\nid = "customer"\n'}.items():
    path = Path(name, "party.toml")
    head = path.read_text().split("\n[data]")[0]
    path.write_text(head + "\n[data]\n" + lines)
Path("terms.toml").write_text("""
[scenario]
name = "drill"
[party.bank]
role = "active"
table = "bank.csv"
id = "customer_id"
label = "default"
[party.telecom]
role = "passive"
table = "telecom.csv"
id = "customer"
[model]
kind = "gbdt"
num_iterations = 5
num_leaves = 4
max_bin = 16
[holdout]
fraction = 0.3
seed = 5
""")
PY
for name in bank telecom; do tallystick party card --party $name --out $name.card 2>$name.print; done
digits() { sed -n 's/^fingerprint: //p' "$1.print"; }
tallystick party trust telecom.card --party bank --fingerprint "$(digits telecom)" >/dev/null
tallystick party trust bank.card --party telecom --fingerprint "$(digits bank)" >/dev/null

step "an agreement that both sign"
tallystick agreement draft terms.toml --with bank.card --with telecom.card --out agreement.json \
    --purpose "credit default model" --legal-basis "consent, clause 7 of the loan form" --expires 2099-12-31 >/dev/null
for name in bank telecom; do
    tallystick agreement sign agreement.json --party $name --passphrase-file $name.pass --yes >/dev/null
done

step "a run between them, verified"
serve
tallystick run --agreement agreement.json --config bank --passphrase-file bank.pass --run first >/dev/null 2>run.log
python -m ledger verify bank/state/runs/first/audit.bundle --policy bank/state/runs/first/policy.txt | tail -1

step "a backup of the telecom while it serves"
tallystick party backup telecom.backup --party telecom --passphrase-file telecom.pass

step "the telecom is killed, and its folder is lost"
kill -9 "$serving" && wait "$serving" 2>/dev/null || true
serving=
mv telecom lost

step "restored: the finished run is there, and verifies"
tallystick party restore telecom.backup telecom --passphrase-file telecom.pass
python -m ledger verify telecom/state/runs/first/audit.bundle --policy telecom/state/runs/first/policy.txt | tail -1
tallystick replay telecom/state/runs/first --party telecom | tail -1

step "and it takes part in the next one"
serve
tallystick run --agreement agreement.json --config bank --passphrase-file bank.pass --run second >/dev/null 2>run.log
python -m ledger verify bank/state/runs/second/audit.bundle --policy bank/state/runs/second/policy.txt | tail -1

step "backed up in the middle of a run, and lost: that run does not go on"
sed 's/num_iterations = 5/num_iterations = 300/' terms.toml > long.toml
tallystick agreement draft long.toml --with bank.card --with telecom.card --out long.json \
    --purpose "credit default model" --legal-basis "consent, clause 7 of the loan form" --expires 2099-12-31 >/dev/null
for name in bank telecom; do
    tallystick agreement sign long.json --party $name --passphrase-file $name.pass --yes >/dev/null
done
tallystick run --agreement long.json --config bank --passphrase-file bank.pass --run third >/dev/null 2>run.log &
driving=$!
until [ -s bank/state/runs/third.partial/bank/transcript.bin ]; do kill -0 $driving && sleep 0.1; done
sleep 2
tallystick party backup middle.backup --party telecom --passphrase-file telecom.pass >/dev/null
kill -9 "$driving" "$serving"
wait "$driving" "$serving" 2>/dev/null || true
serving=
rm -r telecom
tallystick party restore middle.backup telecom --passphrase-file telecom.pass >/dev/null
serve
if tallystick run --agreement long.json --config bank --passphrase-file bank.pass --run third >/dev/null 2>again.log; then
    echo "the run went on over an old ledger" >&2
    exit 1
fi
grep "restored from the backup" again.log

step "all steps hold"

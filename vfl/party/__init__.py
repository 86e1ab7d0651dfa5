"""A company in its own network: a file of settings, a folder of keys and runs, and the cards of those it works with.

DIR/party.toml             settings: `vfl.party.config`
DIR/state/                 readable by its owner alone
    keys.json              seed and TLS keys, encrypted under a passphrase: `vfl.party.keystore`
    card.txt               what others are given: `vfl.party.card`
    peers/NAME.card        cards of companies that were admitted
    agreements/DIGEST.json agreements that this party signed
    approvers.txt          persons whose word is needed besides: `vfl.party.approvers`
    approvals/             what they said
    runs/RUN/              runs with others
"""

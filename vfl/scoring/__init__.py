"""Scoring: joint decisions about applicants with a trained model, each on the record.

answers   what is asked and answered                      link      one party's stream to another, for scoring
policy    cut-off, bands, deadlines: `serving.toml`       partner   a passive party's side: look up, decide, count
models    a model share made ready to score               scorer    the active party's side: ask, combine, record
volumes   decisions and their ledger, in volumes          standin   what scores while a partner is away
"""

"""A scoring service on HTTP: what applications call, who may call it, and what operators see of it.

    server, connections, tls     sockets: deadlines, limits, certificates
    guard                        around every request: hosts, faults, the log, counts
    gate, keys, tokens, limits   who asks, what that client may do, and how often
    operation, calls, problems   one route: what comes in, what goes out, what can go wrong
    scoring, inference, health   the routes
    openapi                      all of it for machines to read

Knows no model, no partner and no ledger: all of these are behind `vfl.scoring.answers.Scorer`.
"""

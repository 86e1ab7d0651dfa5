"""The console: pages on which people try a score, see how the service does, and check its ledger in their browser.

pages      routes, to be mounted by the API               observed   what the live charts show: sums over decisions
about      what the pages say of model and policy         charts     the live charts as SVG
ledgers    stretches of the ledger, and finding in them   answering  languages, forms, headers

static/verify.js checks signatures, hashes and proofs; static/check.js says so on the page; static/live.js keeps the
charts current. Without JavaScript everything is readable, and the page says that nothing was checked.
"""

"""The report on a run: one document, three forms (HTML, JSON, PDF), two languages, a crosswalk per regime.

    evidence    the audit bundle as a report sees it: artefacts and entries, and the trace of a figure to both
    figures     values from the run, each with its trace: nothing else in a report may be a number of the run
    blocks      what a section is made of
    sections    sections 0 to 17
    crosswalk   clause -> section -> evidence -> status, from dated data files (regimes/*.toml)
    texts       all words, as data (texts/*.toml)
    render      blocks as HTML, JSON and PDF
    checking    every trace again, from the bundle alone
    subject     one decision, provable without showing another

A report is read from a run directory and writes nothing there. The same run gives the same bytes.
"""

"""The stages of a study, one module per command.

In the order of the line:

    init       an export → a study file to begin with
    pull       Labelbox → a landed export with its photographs
    parse      landed exports → the case registry
    attach     a study's own data about its patients → metadata under pseudonyms
    audit      duplicate photographs, contradicting and suspect labels → findings
    plan_size  precision and power that the present patients can give, by simulation
    split      cases → train, validation and test, with a certificate
    train      the training set of a split → a run
    predict    a run → exact class probabilities of every case
    baseline   a model of metadata alone → a run with its predictions
    evaluate   predictions → scores with patient-clustered intervals
    compare    two runs on the same cases → paired differences
    learning_curve  models of fewer patients → what more patients would bring
    readers    annotators without and with the model → differences that hold for others
    report     a run → HTML page, CSV files and figures
    queue      doubtful labels → whom to look at first, and what became of it
    next_batch  unlabelled photographs → which to label next
    review     a file of verdicts → label revisions
    claims     published figures against the counts they rest on
    impact     a queue's labels → what they change, and the error rate of all labels
    push       queues, predictions and metadata back to Labelbox
    translate  identifiers of patients ↔ pseudonyms, for who has the key
    export     cases, labels and predictions → the formats of other tools
    release    a split's cases → a de-identified data set for others
    withdraw   a patient leaves the workspace
    status     what there is, and which stages are out of date

A stage never imports another one: they hand over through files and tables.
"""

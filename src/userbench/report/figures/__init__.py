"""One file per figure: its numbers and its drawing (docs/figures.md shows how to add one).

A file has, after a docstring with the question that it answers and the columns of its CSV:

TITLE, CAPTION  texts of its section of the page
READS           what it is made of, of all its runs, tasks, corpora and seeds:
                "scores"       every score of fine-tuning, as one frame
                "predictions"  files of the test predictions behind the scores (`figure/scores.py`)
                "curves"       files of the losses of pre-training
                "cosines"      similarities of user vectors, as one frame (`userbench.similarity`)
NAME            of its rule, SVG, PDF and PNG, and
NUMBERS         of its CSV, and
SECTION         of its section of the page, where they differ from the name of the file
Options         what of a config it reads beside rows, tasks and corpora, as a `Part`; none: nothing
numbers         `Inputs` to the frame of its CSV, with the columns `data` and `seeds`
draw            that frame and `Inputs` to a `Figure`; it computes nothing

Constants are literals, as `userbench.experiment.figures` reads them without importing the file.
"""

"""Files of predictions as people have them: any separator, decimal commas, percentages, logits, one row a case or many.

`tables` reads the cells, `columns` tells which column is what, `numerals` what the numbers are; `faults` lists all that
is wrong with a file at once. What the keys of its rows name is found by `toolkit/stages/predict`, in the registry.
"""

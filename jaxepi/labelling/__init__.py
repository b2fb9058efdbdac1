"""Labels from first principles: structures to label, engines that label them, recipes, and the sets they are packed into.

`structures.sets` makes extended XYZ files, `labels` turns each structure into one small file with an engine and a recipe,
`packing` gathers those into a data set (jaxepi.datasets). `jaxepi label` does all three. Engines need their codes (Quantum
ESPRESSO, GPAW), which are looked for when one is asked for.
"""

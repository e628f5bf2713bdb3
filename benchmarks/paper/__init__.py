"""The paper's table and figures (Chen et al. 2016), measured."""

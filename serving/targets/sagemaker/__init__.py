"""A release on SageMaker: an endpoint for each model, a configuration for each release, one variant that stays.

names -> what things are called; images -> which container serves, and what it is given; planning -> what is wanted,
what is there, which steps lead from one to the other; execution -> the steps run; proof -> what serves, from outside.
"""

"""A release on AWS Lambda: a function for each model, a version for each release, an alias for each stage.

names -> what things are called; planning -> what is wanted, what is there, which steps lead from one to the other;
execution -> the steps run; proof -> what is in service, proven from the outside.
"""

"""Who may do what on AWS: least-privilege policies for one configuration, and the account's CloudFormation template.

statements -> typed statements and their JSON; account -> names; keys, policies -> which role needs which;
template -> CloudFormation. Pure.
"""

from __future__ import annotations

from .account import Account
from .policies import ROLES, TARGETS, policy
from .statements import Policy, Statement
from .template import template

__all__ = ["ROLES", "TARGETS", "Account", "Policy", "Statement", "policy", "template"]

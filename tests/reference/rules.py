"""t"""
from attrs import frozen
@frozen
class Rule:
    sentence: str
    says: str
    wants: object
RULES: tuple = ()

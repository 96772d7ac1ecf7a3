"""Repairs az of Debian 12 for az role assignment.

azure-cli 2.45.0-1 reads the attribute config of two classes, which python3-azure
20230112 calls _config, so that the command fails before it sends anything.
"""

from azure.mgmt.authorization.v2018_01_01_preview.operations import RoleDefinitionsOperations
from azure.mgmt.authorization.v2020_04_01_preview.operations import RoleAssignmentsOperations

for operations in (RoleAssignmentsOperations, RoleDefinitionsOperations):
    if not hasattr(operations, "config"):
        operations.config = property(lambda self: self._config)

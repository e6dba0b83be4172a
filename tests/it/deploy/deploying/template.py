"""A template of CloudFormation as JSON, with the long forms of its functions."""

import json
import sys

from cfnlint.decode import cfn_yaml

json.dump(cfn_yaml.load(sys.argv[1]), sys.stdout)

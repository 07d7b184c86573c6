"""Why a number is another one than expected: known mistakes, tried one by one."""

"""The sub-commands of `pantograph`: each module has add_arguments(parser) and run(args).

They are imported only when they are called.
"""

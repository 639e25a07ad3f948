"""The folders and files of VideoMimic's pipeline (real2sim), written from our products and read
into them: https://github.com/hongsukchoi/VideoMimic, commit cfded6d.
"""

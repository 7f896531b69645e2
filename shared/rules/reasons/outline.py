"""Why the outline of a model was not read to its end."""
from shared.rules.bilingual import Bilingual, Template

WRITTEN = Bilingual("在此期间被写入", "it was written to meanwhile")
OUTLINE_TOO_LARGE = Template("结构信息超过 {mib} MiB", "its outline takes more than {mib} MiB")
NAME_TOO_LONG = Template("其中有名称超过 {limit} 字节", "a name in it is longer than {limit} bytes")
SHAPE_TOO_LONG = Template("其中有形状超过 {limit} 字节", "a shape in it is longer than {limit} bytes")
TENSOR_TOO_SPLIT = Bilingual("其中有张量的组成部分过多", "a tensor in it has too many parts")
TOO_MANY_DIMENSIONS = Bilingual("其中有形状的维度过多", "a shape in it has too many dimensions")
TOO_MANY_KINDS = Template("算子种类超过 {limit} 种", "it has more than {limit} kinds of operators")
TOO_MANY_OPSETS = Template("引用的算子集超过 {limit} 个", "it imports more than {limit} operator sets")
TOO_MANY_VALUES = {"input": Template("输入超过 {limit} 个", "it has more than {limit} inputs"),
                   "output": Template("输出超过 {limit} 个", "it has more than {limit} outputs")}

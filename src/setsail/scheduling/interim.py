from collections import deque
from math import inf
from msgspec import Struct
class Ticket:
    __slots__ = ("rows","nbytes","key","arrived","deadline","priority","cancelled","payload")
    def __init__(self, rows, nbytes, key, arrived, deadline=inf, priority=0, payload=None):
        self.rows,self.nbytes,self.key,self.arrived,self.deadline,self.priority,self.payload=rows,nbytes,key,arrived,deadline,priority,payload
        self.cancelled=False
class Rules(Struct, frozen=True):
    queue_rows:int=1000; queue_bytes:int=256<<20; max_batch:int=0; max_delay:float=0.0; latency_target:float=0.0
class RunTimes:
    @classmethod
    def from_ladder(cls, ladder): return cls()
class Batch:
    def __init__(self,t,r,i): self.tickets,self.rows,self.inline,self.dropped=t,r,i,[]
class Scheduler:
    def __init__(self, rules, times, batches=True, max_rows=None):
        self.q=deque(); self.batches=batches
    def turn(self, now): pass
    def admit(self, n, now, deadline=inf, rows=1): return None
    def put(self,t): self.q.append(t)
    def take(self, now):
        if not self.q: return None
        key=self.q[0].key; out=[]
        while self.q and self.q[0].key==key and len(out)<64: out.append(self.q.popleft())
        return Batch(out,sum(t.rows for t in out),True)
    def done(self,b,s,now): pass

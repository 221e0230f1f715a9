import type { Answer, DeclaredProblem, Operation } from './contract.ts'
import type { ServiceDefinition } from './graph.ts'

type EdgesOf<D> = D extends { calls: readonly (infer E)[] } ? E : never
type OfEdge<E> = E extends { to: { name: infer S extends string; contract: infer C }; commands: readonly (infer N extends string)[] }
  ? { [K in N as `${S}.${K}`]: C[K & keyof C] }
  : never
type Intersection<U> = (U extends unknown ? (one: U) => void : never) extends (all: infer I) => void ? I : never

/** The commands of a service by name, e.g. `stock.reserve`, each with the callee's operation. */
export type Commands<D> = Intersection<OfEdge<EdgesOf<D>>>
export type CommandName<D> = keyof Commands<D> & string
export type CommandOperation<D, K extends CommandName<D>> = Commands<D>[K] extends infer O extends Operation ? O : never

/** What settles a command: a declared answer, or a problem that the callee's contract declares for it. */
export type CommandAnswer<O extends Operation> = Answer<O> | DeclaredProblem<O>

export interface Command {
  callee: string
  /** The operation's name in the callee's contract. */
  name: string
  operation: Operation
  version: number
}

/** What `service` may send through its outbox, by name. */
export const commandsOf = ({ calls }: Pick<ServiceDefinition, 'calls'>): Map<string, Command> =>
  new Map(
    calls.flatMap(({ to, commands = [] }) =>
      commands.map((name): [string, Command] => {
        const operation = to.contract[name] as Operation
        return [`${to.name}.${name}`, { callee: to.name, name, operation, version: operation.commandVersion ?? 1 }]
      }),
    ),
  )

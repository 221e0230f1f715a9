import { DefinitionError } from '@fairlead/chassis'
import { rpcOf } from '@fairlead/chassis/grpc'
import type { GraphCheck } from './refused.ts'

/** A contract that has changed since `fairlead proto` wrote its numbers: the process would refuse to start, long after synth. */
export const grpcNumbers: GraphCheck = ({ system }) =>
  system.services.flatMap(service => {
    try {
      // What is made of one definition is remembered by its `grpc`, also for one that was made from it.
      if (service.grpc) rpcOf({ ...service, grpc: { ...service.grpc } })
      return []
    } catch (error) {
      if (error instanceof DefinitionError) return [error.message]
      throw error
    }
  })
